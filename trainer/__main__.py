# SPDX-License-Identifier: BSD-3-Clause
"""`python -m trainer`, and the command `trainer`."""

import sys

from trainer.entry import start

__all__ = ["main"]

ALONE = {"baseline": "trainer.plain_pipeline.command"}
"""Commands that start without the others, whose libraries take ten seconds to import."""


def main() -> None:
    """Run the command line."""
    chosen = sys.argv[1] if len(sys.argv) > 1 else ""
    start(ALONE.get(chosen, "trainer.cli"), name="trainer")


if __name__ == "__main__":
    main()
