# SPDX-License-Identifier: BSD-3-Clause
"""How fast the way from bytes to verdicts is on this machine, stage by stage and against a plain pipeline."""
