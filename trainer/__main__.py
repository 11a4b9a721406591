# SPDX-License-Identifier: BSD-3-Clause
"""`python -m trainer`, and the command `trainer`."""

from trainer.entry import start

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    start("trainer.cli", name="trainer")


if __name__ == "__main__":
    main()
