# SPDX-License-Identifier: BSD-3-Clause
"""Sources of messages and sinks of verdicts."""
