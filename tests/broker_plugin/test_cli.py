# SPDX-License-Identifier: BSD-3-Clause
"""Every error that is raised on purpose reaches the user as a message and a status."""

from __future__ import annotations

import pytest
from cyclopts import App

from broker_plugin import cli
from broker_plugin.errors import (
    BrokerPluginError,
    BundleError,
    ConfigurationError,
    MembershipLostError,
    RejectedAlert,
    RejectReason,
    TransientError,
)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BrokerPluginError("the consumer stopped: why"), 1),
        (RejectedAlert(RejectReason.EMPTY, "no alert"), 1),
        (ConfigurationError("change this"), 2),
        (BundleError("another bundle"), 2),
        (TransientError("Kafka is away"), 75),
        (MembershipLostError("the group refuses this member"), 75),
    ],
)
def test_an_error_of_ours_is_a_message_and_a_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BrokerPluginError, status: int
) -> None:
    def make_app(chosen: str = "") -> App:
        app = App(name=chosen)

        @app.command
        def fail() -> None:
            raise error

        return app

    monkeypatch.setattr(cli, "make_app", make_app)
    with pytest.raises(SystemExit) as ended:
        cli.main(["fail"])
    assert ended.value.code == status
    assert capsys.readouterr().err.startswith(f"broker-plugin: {error}")
