# SPDX-License-Identifier: BSD-3-Clause
"""Logging, metrics and health of a running service."""
