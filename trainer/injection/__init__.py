# SPDX-License-Identifier: BSD-3-Clause
"""Anomalies injected into observed light curves: how many of them a bundle finds, and which."""
