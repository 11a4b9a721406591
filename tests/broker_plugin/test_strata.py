# SPDX-License-Identifier: BSD-3-Clause
"""An alert is compared with the narrowest stratum there is, the same one in any batch."""

from __future__ import annotations

import numpy as np
import pytest

from broker_plugin.calibration import nightly_rate, p_value
from broker_plugin.strata import StreamStrata, StreamStratum, epoch_range, stream_stratum_name

BOTH = ("photometry", "metadata")


def stratum(
    surveys: list[str],
    contexts: list[str] | None = None,
    modalities: tuple[str, ...] | None = None,
    epochs: tuple[int, int | None] = (0, None),
) -> StreamStratum:
    survey = surveys[0] if len(surveys) == 1 else None
    return StreamStratum(
        name=stream_stratum_name(survey, contexts, modalities, epoch_range(*epochs)),
        n=200,
        surveys=surveys,
        contexts=contexts,
        modalities=None if modalities is None else list(modalities),
        epochs_min=epochs[0],
        epochs_max=epochs[1],
    )


STRATA = [
    stratum(["ztf"], ["stellar"], BOTH, (1, 3)),
    stratum(["ztf"], ["stellar"], BOTH, (4, None)),
    stratum(["ztf"], ["stellar"]),
    stratum(["ztf"], ["artefact", "galaxy_host"]),
    stratum(["ztf"]),
    stratum(["lsst", "ztf"]),
]


@pytest.mark.parametrize(
    ("survey", "context", "modalities", "n_epochs", "name"),
    [
        ("ztf", "stellar", BOTH, 1, "ztf/stellar/photometry+metadata/1-3"),
        ("ztf", "stellar", BOTH, 3, "ztf/stellar/photometry+metadata/1-3"),
        ("ztf", "stellar", BOTH, 4, "ztf/stellar/photometry+metadata/4+"),
        ("ztf", "stellar", BOTH, 9999, "ztf/stellar/photometry+metadata/4+"),
        ("ztf", "stellar", ("metadata",), 0, "ztf/stellar/any/any"),
        ("ztf", "artefact", BOTH, 7, "ztf/artefact+galaxy_host/any/any"),
        ("ztf", "unknown", BOTH, 7, "ztf/any/any/any"),
        ("lsst", "stellar", BOTH, 7, "any/any/any/any"),
        ("ztf", "stellar", (), 0, None),  # of nothing, nothing is strange
        ("another", "stellar", BOTH, 7, None),  # left to the catalogue
    ],
)
def test_the_narrowest_stratum_takes_an_alert(
    survey: str, context: str, modalities: tuple[str, ...], n_epochs: int, name: str | None
) -> None:
    strata = StreamStrata(STRATA)
    (position,) = strata.positions([survey], [context], [modalities], np.array([n_epochs])).tolist()
    assert (strata[position].name if position >= 0 else None) == name


def test_the_look_up_depends_on_neither_order_nor_neighbours(rng: np.random.Generator) -> None:
    n = 500
    survey = rng.choice(["ztf", "lsst", "another"], n)
    context = rng.choice(["stellar", "galaxy_host", "artefact", "unknown", "solar_system"], n)
    modalities = [[BOTH, ("metadata",), ()][k] for k in rng.integers(0, 3, n)]
    n_epochs = rng.integers(0, 300, n)
    whole = StreamStrata(STRATA).positions(survey.tolist(), context.tolist(), modalities, n_epochs)
    order = rng.permutation(n)
    strata = StreamStrata(STRATA)
    for row in order:
        one = strata.positions([survey[row]], [context[row]], [modalities[row]], n_epochs[row : row + 1])
        assert one[0] == whole[row]


def test_the_order_of_width_is_that_of_pooling() -> None:
    widths = [each.width for each in STRATA]
    assert widths == sorted(widths)


def test_there_is_no_rate_below_the_resolution(rng: np.random.Generator) -> None:
    calibration = np.sort(rng.normal(size=250))
    beyond = p_value(np.array([1e9]), calibration)[0]
    assert beyond == 1 / 251
    assert nightly_rate(beyond, 250, 2e5) is None
    second = p_value(calibration[-1:], calibration)[0]
    # One product of floats.
    assert nightly_rate(second, 250, 2e5) == pytest.approx(2 / 251 * 2e5, rel=1e-12)
