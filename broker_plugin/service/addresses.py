# SPDX-License-Identifier: BSD-3-Clause
"""The clusters that the settings name."""

from __future__ import annotations

from pydantic import SecretStr

from broker_plugin.service.secret_files import secret_path
from broker_plugin.settings import Settings
from broker_plugin.settings_tables import FROM_FILE
from broker_plugin.streams.kafka import KafkaAddress

__all__ = ["sink_address", "source_address"]


def source_address(settings: Settings) -> KafkaAddress:
    """Return where the alerts are read."""
    return _address(settings.bootstrap, settings.kafka.source, settings)


def sink_address(settings: Settings) -> KafkaAddress:
    """Return where the verdicts are written."""
    return _address(settings.sink_bootstrap, settings.kafka.sink, settings)


def _address(bootstrap: str, table: dict[str, SecretStr], settings: Settings) -> KafkaAddress:
    values = {name: value.get_secret_value() for name, value in table.items()}
    return KafkaAddress(
        bootstrap=bootstrap,
        properties={name: value for name, value in values.items() if not name.endswith(FROM_FILE)},
        files={
            name.removesuffix(FROM_FILE): secret_path(value)
            for name, value in values.items()
            if name.endswith(FROM_FILE)
        },
        patience_s=settings.refusal_deadline_s,
    )
