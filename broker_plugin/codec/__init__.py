# SPDX-License-Identifier: BSD-3-Clause
"""Bytes to packets, verdicts to bytes, and the schemas of both."""
