# SPDX-License-Identifier: BSD-3-Clause
"""`python -m broker_plugin` is `broker-plugin`."""

from __future__ import annotations

from broker_plugin.cli import main

if __name__ == "__main__":
    main()
