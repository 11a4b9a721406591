# SPDX-License-Identifier: BSD-3-Clause
"""One spelling of an object's name, whoever writes it and wherever it is read."""

from __future__ import annotations

import pytest

from broker_plugin.errors import ConfigurationError
from broker_plugin.object_names import is_object_name, object_name, surveyed_name


@pytest.mark.parametrize(
    ("written", "full"),
    [
        ("ZTF18abcdefg", "ztf:ZTF18abcdefg"),
        (" ztf:ztf18ABCDEFG ", "ztf:ZTF18abcdefg"),
        ("313887541670409012", "lsst:313887541670409012"),
        ("sso:7", "lsst:sso:7"),
        ("LSST:SRC:8", "lsst:src:8"),
    ],
)
def test_with_its_survey_a_name_is_what_it_is_without(written: str, full: str) -> None:
    assert surveyed_name(written) == full
    assert surveyed_name(full) == object_name(full) == full
    assert object_name(written) in (full, full.partition(":")[2])
    assert is_object_name(written)


@pytest.mark.parametrize("written", ["", "M31", "ztf:a", "ztf:42", "lsst:ZTF18abcdefg", "gaia:42", "1e17"])
def test_what_no_alert_can_be_called_is_no_name(written: str) -> None:
    assert surveyed_name(written) is None
    assert not is_object_name(written)
    with pytest.raises(ConfigurationError):
        object_name(written)
