# SPDX-License-Identifier: BSD-3-Clause
"""`trainer build`: light curves, spectra and catalogue rows cross-matched into one multimodal dataset."""
