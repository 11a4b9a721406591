# SPDX-License-Identifier: BSD-3-Clause
"""Turn a trained checkpoint into a verified bundle."""
