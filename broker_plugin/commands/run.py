# SPDX-License-Identifier: BSD-3-Clause
"""`broker-plugin run`: the service."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from dataclasses import make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from pydantic.fields import FieldInfo

from broker_plugin.service.application import serve
from broker_plugin.service.consistency import check_service
from broker_plugin.service.logging import configure_logging
from broker_plugin.service.settings_sources import load_settings
from broker_plugin.service.workers import supervise
from broker_plugin.settings import Settings
from broker_plugin.signals import hurry_on_hangup, stop_on_signal

__all__ = ["RunFlags", "given_flags", "run"]

TABLES = frozenset({"kafka", "limits", "routes"})
"""Settings that are tables, for the file and the environment only."""


def _described(field: FieldInfo) -> Parameter:
    default = "" if field.default in (None, "") else f" [default: {field.default}]"
    return Parameter(help=f"{field.description}{default}")


if TYPE_CHECKING:

    class RunFlags:
        """One flag for each setting, described once, in the settings; None where it was not given."""
else:
    # No model of pydantic, whose errors the command line would show raw.
    RunFlags = make_dataclass(
        "RunFlags",
        [
            (name, Annotated[field.annotation | None, _described(field)], None)
            for name, field in Settings.model_fields.items()
            if name not in TABLES
        ],
        kw_only=True,
        namespace={"__module__": __name__},
    )


def given_flags(flags: RunFlags | None) -> dict[str, Any]:
    """Return the settings that were given as flags."""
    return {name: value for name, value in vars(flags or RunFlags()).items() if value is not None}


def run(*, config: Path | None = None, flags: Annotated[RunFlags | None, Parameter(name="*")] = None) -> int:
    """Read alerts from Kafka and write verdicts to Kafka until it is stopped.

    Every setting can be a line of the TOML file, an environment variable (--dead-letters is
    ASTROM3_DEAD_LETTERS) or a flag; the later of these wins. Required are --survey, --bootstrap, --input,
    --output, --dead-letters and --group. Further librdkafka properties, passwords among them, go into the
    tables [kafka.source] and [kafka.sink] of the file, or into ASTROM3_KAFKA__SOURCE__SASL_PASSWORD and the
    like. Tables [[routes]] of the file send chosen verdicts to topics of candidates.

    With --bundles, what is promoted under the name of --bundle is taken up without a restart, at the survey's
    local noon unless it was promoted --now. SIGHUP has the repository looked at at once.

    With --workers N as many processes share the partitions, under one that watches over them: use as many
    as there are cores, and at least as many partitions. SIGTERM stops all of them in order.

    Parameters
    ----------
    config
        Settings in TOML.
    """
    settings = load_settings(given_flags(flags), config=config)
    check_service(settings)
    configure_logging(settings.log_format, settings.log_level)
    stop, hurry = threading.Event(), threading.Event()
    with stop_on_signal(stop), hurry_on_hangup(hurry) if settings.bundles else nullcontext():
        if settings.workers > 1:
            return supervise(settings, stop, hurry=hurry)
        serve(settings, stop, hurry=hurry)
    return 0
