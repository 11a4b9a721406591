# SPDX-License-Identifier: BSD-3-Clause
"""An error survives the way from a worker process to its parent."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

from broker_plugin.errors import BundleError, RejectedAlert, RejectReason
from broker_plugin.records import Access


def reject() -> None:
    raise RejectedAlert(RejectReason.EMPTY, "nothing there", access=frozenset({Access.PUBLIC}))


def find_fault() -> None:
    raise BundleError("it is cut", remedy="restore it")


def test_errors_cross_processes_whole() -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        with pytest.raises(RejectedAlert) as caught:
            pool.submit(reject).result()
        with pytest.raises(BundleError) as found:
            pool.submit(find_fault).result()
    assert caught.value.reason is RejectReason.EMPTY
    assert caught.value.detail == "nothing there"
    assert caught.value.access == {Access.PUBLIC}
    error = found.value
    assert (error.found, error.remedy, str(error)) == ("it is cut", "restore it", "it is cut; restore it")
