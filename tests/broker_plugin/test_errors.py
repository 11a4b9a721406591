# SPDX-License-Identifier: BSD-3-Clause
"""A rejection survives the way from a worker process to its parent."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

from broker_plugin.errors import RejectedAlert, RejectReason
from broker_plugin.records import Access


def reject() -> None:
    raise RejectedAlert(RejectReason.EMPTY, "nothing there", access=frozenset({Access.PUBLIC}))


def test_a_rejection_crosses_processes_whole() -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool, pytest.raises(RejectedAlert) as caught:
        pool.submit(reject).result()
    assert caught.value.reason is RejectReason.EMPTY
    assert caught.value.detail == "nothing there"
    assert caught.value.access == {Access.PUBLIC}
