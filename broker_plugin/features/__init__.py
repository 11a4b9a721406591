# SPDX-License-Identifier: BSD-3-Clause
"""The preprocessing that trainer and runtime share."""
