# SPDX-License-Identifier: BSD-3-Clause
"""`broker-plugin topics`: the topics that the service writes, as commands or made at once."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from broker_plugin.service.addresses import sink_address
from broker_plugin.service.settings_sources import load_settings
from broker_plugin.service.topic_plans import topic_plans
from broker_plugin.streams.kafka_topics import TopicPlan, create_topic

__all__ = ["topics"]

Count = Annotated[int | None, Parameter(validator=validators.Number(gte=1))]


def topics(
    *,
    config: Path | None = None,
    partitions: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 8,
    replicas: Count = None,
    create: Annotated[bool, Parameter(negative="")] = False,
    bootstrap: str | None = None,
) -> None:
    """Print the commands that make the topics which run writes, or make them.

    The names come from the settings of run: its file, or variables such as ASTROM3_OUTPUT. Verdicts are kept
    for a week, candidates for four, dead letters for thirty days, embeddings for three; the ledger is
    compacted and kept for good. A topic that is there already is left as it is.

        broker-plugin topics --config run.toml
        broker-plugin topics --config run.toml --partitions 45 --replicas 3 --create

    Parameters
    ----------
    config
        Settings in TOML, as for run.
    partitions
        Of the busy topics: as many as processes that read them may share the work.
    replicas
        Copies of each partition; by default what the cluster does by itself.
    create
        Make them, instead of printing the commands.
    bootstrap
        host:port of the cluster; by default the one that run writes to.
    """
    given = {} if bootstrap is None else {"output_bootstrap": bootstrap}
    settings = load_settings(given, config=config)
    settings.require("output", "dead_letters", *([] if settings.sink_bootstrap else ["bootstrap"]))
    for plan in topic_plans(settings, partitions=partitions, replicas=replicas):
        if not create:
            sys.stdout.write(f"{_command(plan, settings.sink_bootstrap)}\n")
        elif create_topic(sink_address(settings).credentials_only(), plan):
            sys.stdout.write(f"{plan.name}: made\n")
        else:
            sys.stdout.write(f"{plan.name}: there already, left as it is\n")


def _command(plan: TopicPlan, bootstrap: str) -> str:
    words = ["kafka-topics.sh", "--bootstrap-server", bootstrap, "--create", "--if-not-exists"]
    words += ["--topic", plan.name, "--partitions", str(plan.partitions)]
    if plan.replicas is not None:
        words += ["--replication-factor", str(plan.replicas)]
    for name, value in plan.config.items():
        words += ["--config", f"{name}={value}"]
    return shlex.join(words)
