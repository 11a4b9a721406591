# SPDX-License-Identifier: BSD-3-Clause
"""How the tables of this app came to be."""
