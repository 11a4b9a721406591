# SPDX-License-Identifier: BSD-3-Clause
"""What goes wrong with a member of the group is said by the measurement, whatever it is."""

from __future__ import annotations

from multiprocessing import Pipe
from pickle import UnpicklingError

import pytest

from broker_plugin.benchmark.kafka_members import Members
from broker_plugin.errors import TransientError


def test_a_member_that_ends_is_no_silent_wait() -> None:
    here, there = Pipe()
    there.close()
    with Members({}, 0) as members:
        members._hear(0, here)
        with pytest.raises(TransientError, match="ended while it was measured"):
            members.progress(1, quiet_s=10)


def test_what_cannot_be_read_of_a_member_is_no_silent_wait() -> None:
    here, there = Pipe()
    there.send_bytes(b"no message")
    with Members({}, 0) as members:
        members._hear(0, here)
        with pytest.raises(UnpicklingError):
            members.progress(1, quiet_s=10)
