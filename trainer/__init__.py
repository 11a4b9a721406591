# SPDX-License-Identifier: BSD-3-Clause
"""Training of the encoders, the forests and the calibration that a bundle is made of."""
