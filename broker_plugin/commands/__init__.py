# SPDX-License-Identifier: BSD-3-Clause
"""One file a subcommand of `broker-plugin`; each is imported only when it is called."""
