# SPDX-License-Identifier: BSD-3-Clause
"""What a scenario is made of, at full size or a part of it."""

from __future__ import annotations

from dataclasses import dataclass

from tests.drill.record import Outcome

__all__ = ["FULL", "TENTH", "Plan"]

FULL, TENTH = "full", "a tenth"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A stream, a team, and a fault to be injected.

    Parameters
    ----------
    scenario
        Its name.
    fault
        What is injected, for a person.
    size
        `FULL`, of which records are kept, or `TENTH`, which the usual tests run.
    alerts, poisoned
        Messages in all, and how many of them are poisoned.
    rate_per_s
        At which they come.
    workers
        Processes at the start.
    flags
        Of `run`, beside those of the topics and the delivery.
    """

    scenario: str
    fault: str
    size: str
    alerts: int
    poisoned: int
    delivery: str = "exactly-once"
    protocol: str = "classic"
    rate_per_s: float = 100.0
    workers: int = 2
    partitions: int = 4
    flags: tuple[str, ...] = ()

    @property
    def is_kept(self) -> bool:
        """Whether its record goes into the table."""
        return self.size != TENTH

    def keeps_its_promise(self, outcome: Outcome) -> bool:
        """Tell whether nothing is lost or astray, and nothing there twice but where it may be."""
        twice_at_most = self.delivery == "at-least-once" or outcome.duplicated == 0
        return outcome.lost == outcome.astray == 0 and twice_at_most
