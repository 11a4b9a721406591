# SPDX-License-Identifier: BSD-3-Clause
"""How much contrastive pre-training gains when few stars have a label."""
