# SPDX-License-Identifier: BSD-3-Clause
"""From a training run to a verified bundle."""
