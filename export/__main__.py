# SPDX-License-Identifier: BSD-3-Clause
"""`python -m export`."""

from trainer.entry import start

if __name__ == "__main__":
    start("export.cli", name="export")
