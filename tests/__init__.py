# SPDX-License-Identifier: BSD-3-Clause
"""Tests of the three packages, from single laws to real servers."""
