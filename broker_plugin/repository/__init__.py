# SPDX-License-Identifier: BSD-3-Clause
"""Where bundles in service are kept: named versions, and which of them is in force."""
