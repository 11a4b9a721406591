# SPDX-License-Identifier: BSD-3-Clause
"""Train the encoders, the heads and the forests, and measure them."""
