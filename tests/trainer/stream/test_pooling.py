# SPDX-License-Identifier: BSD-3-Clause
"""Strata of generated scores: uniform p-values, pooling upward, conservative ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from broker_plugin.calibration import p_value
from broker_plugin.strata import StreamStrata
from trainer.anomaly import fit_single
from trainer.stream.fit import Fitted, Forests, p_values_of
from trainer.stream.measure import ks_distance, uniformity
from trainer.stream.pooling import conservative, fill_strata, merged_bins, plan_strata
from trainer.stream.views import Encoded, View

EDGES = [0, 1, 2, 4, 8]
BOTH = ("photometry", "metadata")


def generated(rng: np.random.Generator, counts: dict[tuple[str, str], int]) -> tuple[Encoded, list[View]]:
    """Objects by survey and context, whose embedding is one number: their score."""
    survey = np.repeat([name for name, _ in counts], list(counts.values()))
    context = np.repeat([name for _, name in counts], list(counts.values()))
    n = len(survey)
    score = rng.normal(size=(n, 1)).astype(np.float32)
    encoded = Encoded(
        survey=survey,
        context=context,
        n_epochs=rng.integers(1, 12, n),
        embeddings=np.stack([score, score], axis=1),
        present=np.ones((n, 2), np.bool_),
    )
    whole = View(
        modalities=BOTH,
        rows=np.arange(n),
        natural=np.ones(n, np.bool_),
        n_epochs=encoded.n_epochs,
        embeddings={"fused": score, "photometry": score},
    )
    return encoded, [whole]


def identity(survey: str | None, source: str, embedding: NDArray[np.float32]) -> NDArray[np.float64]:
    return embedding[:, 0].astype(np.float64)


@given(st.lists(st.integers(0, 400), min_size=1, max_size=9), st.integers(1, 300))
def test_merged_bins_cover_all_and_are_large_enough(counts: list[int], least: int) -> None:
    ranges = merged_bins(counts, least=least)
    if sum(counts) < least:
        assert ranges == []
        return
    assert [position for first, last in ranges for position in range(first, last + 1)] == [
        *range(len(counts))
    ]
    assert all(sum(counts[first : last + 1]) >= least for first, last in ranges)


def test_small_strata_pool_upward_and_say_so(rng: np.random.Generator) -> None:
    counts = {
        ("ztf", "stellar"): 900,
        ("ztf", "artefact"): 120,
        ("ztf", "galaxy_host"): 110,
        ("lsst", "stellar"): 90,
        ("lsst", "unknown"): 60,
    }
    encoded, views = generated(rng, counts)
    rows = np.arange(len(encoded))
    planned = plan_strata(encoded, views, rows, EDGES)
    filled, scores = fill_strata(planned, encoded, views, rows, identity)
    sizes = {stratum.name: stratum.n for stratum in filled}
    own = [n for name, n in sizes.items() if name.startswith("ztf/stellar/photometry+metadata/")]
    assert len(own) > 1
    assert sum(own) == 900 == sizes["ztf/stellar/any/any"]
    assert sizes["ztf/artefact+galaxy_host/any/any"] == 230
    assert sizes["ztf/any/any/any"] == 1130
    assert sizes["any/any/any/any"] == 1280
    assert not any(name.startswith("lsst") for name in sizes)
    assert min(sizes.values()) >= 200
    for name, n in sizes.items():
        for source in ("fused", "photometry"):
            assert len(scores[f"{name}/{source}"]) == n
    strata = StreamStrata(filled)
    (position,) = strata.positions(["lsst"], ["stellar"], [BOTH], np.array([3]))
    assert strata[position].name == "any/any/any/any"


def test_p_values_of_ordinary_objects_are_uniform_in_every_stratum(rng: np.random.Generator) -> None:
    encoded, views = generated(rng, {("ztf", "stellar"): 4000, ("ztf", "unknown"): 3000})
    parts = np.split(rng.permutation(len(encoded)), 2)
    planned = plan_strata(encoded, views, parts[0], EDGES)
    filled, scores = fill_strata(planned, encoded, views, parts[0], identity)
    strata = StreamStrata(filled)
    test = parts[1]
    position = strata.positions(
        encoded.survey[test].tolist(),
        encoded.context[test].tolist(),
        [BOTH] * len(test),
        encoded.n_epochs[test],
    )
    assert (position >= 0).all()
    for each in np.unique(position):
        stratum = filled[each]
        own = p_value(encoded.embeddings[test[position == each], 0, 0], scores[f"{stratum.name}/fused"])
        result = uniformity(own, stratum.n)
        for level in (0.1, 0.01):
            share, expected = result[f"share_{level}"], result[f"expected_{level}"]
            error = result[f"error_{level}"]
            assert share is not None
            assert expected is not None
            assert error is not None
            assert abs(share - expected) < 5 * error  # five standard errors
        assert ks_distance(own) < 3 * (result["ks_due"] or 0.0)  # thrice the mean of Kolmogorov's law


def test_an_alert_has_p_values_of_what_both_it_and_its_stratum_have(rng: np.random.Generator) -> None:
    encoded, views = generated(rng, {("ztf", "stellar"): 400})
    rows = np.arange(len(encoded))
    filled, scores = fill_strata(plan_strata(encoded, views, rows, EDGES), encoded, views, rows, identity)
    sources = dict.fromkeys(BOTH, encoded.embeddings[:, 0])
    forest = fit_single(sources["photometry"], seed=1, trees=5)
    forests = Forests(common={}, own={"ztf": dict.fromkeys(BOTH, forest)})
    fitted = Fitted(forests=forests, strata=filled, scores=scores, choice={})
    encoded.present[:5, 0] = False
    p_values, position = p_values_of(encoded, sources, rows, fitted, BOTH, source="photometry")
    assert (position >= 0).all()
    assert np.flatnonzero(np.isnan(p_values)).tolist() == [*range(5)]
    # The generated views have no scores of it.
    p_values, _ = p_values_of(encoded, sources, rows, fitted, BOTH, source="metadata")
    assert np.isnan(p_values).all()


@pytest.mark.parametrize("rounding", [-1, 0, 1])
def test_a_tie_never_makes_an_object_stranger(rng: np.random.Generator, rounding: int) -> None:
    exact = rng.random(300)
    calibration = conservative(exact)
    # The service's score of the very same embedding, rounded to float32 or to its neighbours' side.
    served = exact.astype(np.float32)
    if rounding:
        served = np.nextafter(served, np.float32(rounding * np.inf))
    at_least = p_value(served, calibration)
    rank = 1 + (exact[None, :] >= exact[:, None]).sum(axis=1)
    assert (at_least >= rank / 301 - 1e-12).all()  # one float64 quotient
    assert p_value(np.full(3, 0.5, np.float32), conservative(np.full(50, 0.5))).tolist() == [1.0] * 3


def test_a_level_below_the_smallest_p_value_cannot_be_tested() -> None:
    result = uniformity(np.linspace(0.02, 1.0, 50), 50)
    assert result["share_0.01"] is None
    assert result["share_0.1"] is not None
