# SPDX-License-Identifier: BSD-3-Clause
"""Two bundles on the same alerts: how their verdicts differ, as numbers, a table and a page."""
