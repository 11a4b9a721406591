# SPDX-License-Identifier: BSD-3-Clause
"""Simulated stars: light curve, spectrum and catalogue values follow from the same stellar parameters."""
