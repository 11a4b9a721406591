# SPDX-License-Identifier: BSD-3-Clause
"""Readers of labelled light curves, and their splits."""
