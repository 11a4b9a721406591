# SPDX-License-Identifier: BSD-3-Clause
"""Real servers, their artefacts and the tiers they belong to."""
