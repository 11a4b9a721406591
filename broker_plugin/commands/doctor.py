# SPDX-License-Identifier: BSD-3-Clause
"""`broker-plugin doctor`: what is wrong and what to do about it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from broker_plugin.commands.run import RunFlags, given_flags
from broker_plugin.engine.first_start import warm_up
from broker_plugin.service.diagnosis import Check, Outcome, diagnose
from broker_plugin.service.logging import quieten
from broker_plugin.service.settings_sources import load_settings

__all__ = ["doctor"]

STYLES = {Outcome.OK: "green", Outcome.NOTE: "yellow", Outcome.FAILED: "bold red", Outcome.SKIPPED: "dim"}


def doctor(
    *,
    config: Path | None = None,
    flags: Annotated[RunFlags | None, Parameter(name="*")] = None,
    warm: Annotated[bool, Parameter(negative="")] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Look at everything that a run needs, and say what is wrong and what to do about it.

    Give it what you would give to `run`, all or a part. It reads no alert, joins no consumer group and makes
    no topic. The exit status is 1 if something that was asked for does not work.

    Parameters
    ----------
    config
        Settings in TOML.
    warm
        Compile decoder and features first and keep the machine code, so that the next start does not have
        to: for whoever builds an image or installs for others. It is kept beside the package where that can
        be written, else in the user's cache folder, or in $NUMBA_CACHE_DIR.
    as_json
        Print the findings as JSON.
    """
    settings = load_settings(given_flags(flags), config=config)
    quieten()
    console = Console(stderr=as_json)
    checks: list[Check] = []
    with console.status("looking ...") as status:
        if warm:
            status.update("compiling ...")
            if not console.is_terminal:  # where no status is drawn
                console.print("compiling, which takes half a minute the first time ...")
            warm_up()
        for check in diagnose(settings):
            checks.append(_after_warming(check) if warm else check)
            status.update(f"looked at {check.name}")
    healthy = all(check.outcome is not Outcome.FAILED for check in checks)
    if as_json:
        findings = {"healthy": healthy, "checks": [asdict(check) for check in checks]}
        sys.stdout.write(json.dumps(findings, indent=2) + "\n")
    else:
        console.print(_table(checks))
        console.print(_summary(checks))
    return 0 if healthy else 1


def _after_warming(check: Check) -> Check:
    """Return a check: kernels that are not there, after all were compiled, could not be kept."""
    if check.name != "kernels" or check.outcome is Outcome.OK:
        return check
    remedy = "make room there or permit it, or name another place in NUMBA_CACHE_DIR"
    return replace(check, outcome=Outcome.FAILED, remedy=remedy)


def _table(checks: Sequence[Check]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        outcome = Text(check.outcome, style=STYLES[check.outcome])
        table.add_row(outcome, check.name, Text(check.found, style=_style(check)))
        if check.remedy:
            table.add_row("", "", Text(f"-> {check.remedy}", style=STYLES[check.outcome]))
    return table


def _style(check: Check) -> str:
    return "dim" if check.outcome is Outcome.SKIPPED else ""


def _summary(checks: Sequence[Check]) -> Text:
    failed = [check.name for check in checks if check.outcome is Outcome.FAILED]
    if failed:
        return Text(f"\nfailed: {', '.join(failed)}", style=STYLES[Outcome.FAILED])
    return Text("\nnothing that was asked for is broken", style=STYLES[Outcome.OK])
