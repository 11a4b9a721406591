# SPDX-License-Identifier: BSD-3-Clause
"""What is to be seen on a machine with a GPU, which is lent for minutes."""
