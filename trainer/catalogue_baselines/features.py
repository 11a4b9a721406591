# SPDX-License-Identifier: BSD-3-Clause
"""Hand-made features of stars in a setting: those of the encoder's own tokens, side by side."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.features.base import FEATURE_SPEC_VERSION, Tokens
from broker_plugin.records import Alert, AlertBatch
from trainer.baseline import summary
from trainer.data.unsorted import Unsorted
from trainer.processes import processes
from trainer.sets import IMITATION_VERSION, tokens_of
from trainer.star_settings import PACKET, SETTINGS, alerts_of
from trainer.survey_cut import CUT_VERSION

__all__ = ["features_of"]

Specs = Mapping[str, Mapping[str, Any]]

CHUNK = 250
"""Stars whose features are computed at once."""


def features_of(
    stars: Unsorted,
    setting: str,
    specs: Specs,
    *,
    cache: Path,
    workers: int = 1,
    advance: Callable[[int], None] = lambda n: None,
) -> NDArray[np.float32]:
    """Return the features (S, F) of stars in a setting, or read them from the cache.

    Where the setting gives the catalogue's period, the fold at that period is among them.

    Parameters
    ----------
    specs
        Spec of each modality.
    cache
        File to keep them in; one made from other stars or specs is made again.
    advance
        Told of stars done.
    """
    key = _key(stars, setting, specs)
    if cache.is_file():
        with np.load(cache, allow_pickle=False) as archive:
            if str(archive["key"]) == key:
                advance(len(stars.star_id))
                return np.asarray(archive["features"], np.float32)
    parts = []
    for part in _computed(stars, setting, specs, workers):
        parts.append(part)
        advance(len(part))
    features = np.concatenate(parts)
    cache.parent.mkdir(parents=True, exist_ok=True)
    unfinished = cache.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.savez(file, allow_pickle=False, key=np.array(key), features=features)
    unfinished.replace(cache)
    return features


def _computed(stars: Unsorted, setting: str, specs: Specs, workers: int) -> Iterator[NDArray[np.float32]]:
    n = len(stars.star_id)
    chunks = (
        alerts_of(stars, setting, np.arange(start, min(start + CHUNK, n))) for start in range(0, n, CHUNK)
    )
    given = setting != PACKET and SETTINGS[setting][1]
    compute = partial(_features, specs=specs, given=given)
    if workers == 1:
        yield from map(compute, chunks)
        return
    with processes(workers) as pool:
        yield from pool.map(compute, chunks)


def _features(alerts: Sequence[Alert], *, specs: Specs, given: bool) -> NDArray[np.float32]:
    tokens = tokens_of(AlertBatch.from_alerts(alerts), specs)
    parts = [summary(tokens)]
    if given and "light_curve" in tokens:
        parts.append(_last_token(tokens["light_curve"]))
    return np.concatenate(parts, axis=1)


def _last_token(tokens: Tokens) -> NDArray[np.float32]:
    """Return the last token of each alert, which is the fold at the catalogue's period where there is one."""
    values = np.zeros((len(tokens.lengths), tokens.values.shape[1]), np.float32)
    there = np.flatnonzero(tokens.lengths)
    values[there] = tokens.values[tokens.offsets[1:][there] - 1]
    return values


def _key(stars: Unsorted, setting: str, specs: Specs) -> str:
    digest = hashlib.sha256()
    for array in (stars.star_id, stars.stars.mjd, stars.stars.flux_njy, stars.stars.period_day):
        digest.update(np.ascontiguousarray(array).tobytes())
    versions = f"{FEATURE_SPEC_VERSION}/{IMITATION_VERSION}"
    seen = f"{setting}-{CUT_VERSION}" if setting == PACKET else setting
    return f"{versions}/{seen}/{digest.hexdigest()}/{json.dumps(specs, sort_keys=True)}"
