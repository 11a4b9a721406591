# SPDX-License-Identifier: BSD-3-Clause
"""The models of a running service: the bundle that scores, what follows its promotions, and its shadow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from broker_plugin.engine.opening import abandoned_when
from broker_plugin.engine.scorer import Scorer
from broker_plugin.pipeline.assembly import FilterRecipe
from broker_plugin.pipeline.filter import AlertScorer
from broker_plugin.pipeline.monitor import Monitor
from broker_plugin.pipeline.reload import BundleChange, BundleWatch, SwitchableScorer
from broker_plugin.pipeline.shadow import Shadow, ShadowedScorer, ShadowRecipe
from broker_plugin.repository.layout import BundleRepository, locate_bundle, split_name
from broker_plugin.service.bundle_metrics import BundleMetrics
from broker_plugin.service.drift import DriftWatch
from broker_plugin.settings import Settings
from broker_plugin.stream_reference import reference_of

__all__ = ["ServedModels", "located_bundle", "open_models", "shadow_bundle"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModels:
    """What scores, what is to be called before each batch, and what is to be told of each after it."""

    scorer: AlertScorer
    between_batches: Callable[[], None]
    monitor: Monitor


def located_bundle(settings: Settings) -> str:
    """Return the directory or installed name of what `--bundle` stands for now.

    Raises
    ------
    BundleError
        If there is no such bundle.
    """
    return str(locate_bundle(settings.bundle, settings.bundles, survey=settings.survey))


def shadow_bundle(settings: Settings) -> str:
    """Return the same of `--shadow`."""
    return str(locate_bundle(settings.shadow, settings.bundles, survey=settings.survey))


@contextmanager
def open_models(
    settings: Settings,
    recipe: FilterRecipe,
    registry: CollectorRegistry,
    stop: threading.Event,
    *,
    shadow: ShadowRecipe | None = None,
    hurry: threading.Event | None = None,
) -> Iterator[ServedModels]:
    """Open and warm the bundle, and follow its promotions until the block is left.

    Parameters
    ----------
    recipe
        The filter, with the bundle that the service starts with.
    registry
        Where metrics are.
    stop
        Has the opening given up.
    shadow
        The second bundle, if there is one.
    hurry
        Set it to have the bundle repository looked at now.

    Raises
    ------
    BundleError, ProviderError
        If the bundle or the device cannot be had.
    OpeningAbandonedError
        If the stop event is set before it is open.
    """
    metrics = BundleMetrics(registry)
    with abandoned_when(stop.is_set):
        first = _opened(recipe)
    drift = DriftWatch(first.bundle, str(settings.survey), registry, class_prior=settings.class_prior)
    switchable = SwitchableScorer(first, observe=drift.scored)

    scorer: AlertScorer = switchable
    between_batches: Callable[[], None] = lambda: None  # noqa: E731 - it is replaced
    with ExitStack() as stack:
        watch = _watch(settings, recipe, switchable, on_change=metrics.changed, hurry=hurry)
        if watch is not None:
            between_batches = stack.enter_context(watch).switch_if_due
        if shadow is not None:
            running = stack.enter_context(Shadow(shadow, on_outcome=metrics.shadowed))
            scorer = ShadowedScorer(switchable, running)
        yield ServedModels(scorer=scorer, between_batches=between_batches, monitor=drift)


def _opened(recipe: FilterRecipe) -> Scorer:
    scorer = recipe.scorer()
    scorer.warm_up()
    log.info(
        "bundle_opened",
        bundle=scorer.bundle.manifest.name,
        digest=scorer.bundle.digest,
        provider=scorer.provider.provider,
        reason=scorer.provider.reason,
    )
    for warning in scorer.provider.warnings:
        log.warning("gpu_left_idle", why=warning)
    return scorer


def _watch(
    settings: Settings,
    recipe: FilterRecipe,
    scorer: SwitchableScorer,
    *,
    on_change: Callable[[BundleChange], None],
    hurry: threading.Event | None,
) -> BundleWatch | None:
    """Return what follows the promotions of a name, None for a version or a directory, which stay."""
    if settings.bundles is None:
        return None
    repository = BundleRepository(settings.bundles)
    if split_name(settings.bundle)[1] is not None or settings.bundle not in repository.known():
        return None

    survey = str(settings.survey)

    def open_scorer(path: Path) -> Scorer:
        opened = replace(recipe, bundle=str(path)).scorer()
        reference_of(opened.bundle.manifest, survey)  # what drift cannot read is refused while it can be
        return opened

    return BundleWatch(
        repository,
        settings.bundle,
        survey=survey,
        scorer=scorer,
        open_scorer=open_scorer,
        hurry=hurry,
        on_change=on_change,
    )
