# SPDX-License-Identifier: BSD-3-Clause
"""Candidates of astrom3-broker in a TOM: an alert stream, and a data service to query them."""

__version__ = "0.1.0"
