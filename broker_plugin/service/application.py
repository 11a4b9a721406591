# SPDX-License-Identifier: BSD-3-Clause
"""The service put together from its settings: scorer, streams, pipeline, metrics, health."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial

import structlog

from broker_plugin import __version__
from broker_plugin.bundle import open_bundle
from broker_plugin.codec.registry import SchemaRegistry
from broker_plugin.codec.verdict import Tense, encode_container
from broker_plugin.engine.opening import OpeningAbandonedError
from broker_plugin.errors import BrokerPluginError, RejectReason, StoreError
from broker_plugin.expendable import are_at_work
from broker_plugin.instants import milliseconds, parse_moment
from broker_plugin.pipeline.assembly import (
    FilterRecipe,
    parse_access,
    parse_dead_letter_access,
    parse_reasons,
)
from broker_plugin.pipeline.batcher import Batcher
from broker_plugin.pipeline.dead_letters import DeadLetters
from broker_plugin.pipeline.delivery import AtLeastOnce, Delivery
from broker_plugin.pipeline.exactly_once import ExactlyOnce
from broker_plugin.pipeline.filter import AlertFilter
from broker_plugin.pipeline.lasting import lasting
from broker_plugin.pipeline.ledger import Ledger
from broker_plugin.pipeline.memory import MemoryRecipe
from broker_plugin.pipeline.monitor import BatchOutcome, Monitors
from broker_plugin.pipeline.outbox import Encode, Outbox, framed
from broker_plugin.pipeline.recollection import Recollection
from broker_plugin.pipeline.reject_rate import RejectRate
from broker_plugin.pipeline.runner import Runner
from broker_plugin.pipeline.shadow import ShadowRecipe
from broker_plugin.service.addresses import sink_address, source_address
from broker_plugin.service.clusters import check_clusters
from broker_plugin.service.consistency import check_service, store_recipe
from broker_plugin.service.health import Health, HealthServer
from broker_plugin.service.logging import configure_logging
from broker_plugin.service.metrics import Metrics
from broker_plugin.service.models import located_bundle, open_models, shadow_bundle
from broker_plugin.service.outputs import (
    open_embeddings,
    open_ledger,
    open_routes,
    patiently,
    written_topics,
)
from broker_plugin.service.store_metrics import StoreCollector
from broker_plugin.service.watchdog import Watchdog, stuck_after_s
from broker_plugin.settings import Settings
from broker_plugin.streams.instance import take_instance
from broker_plugin.streams.kafka import (
    KafkaSink,
    KafkaSource,
    StartPolicy,
    TransactionalKafkaSink,
)

__all__ = ["judge_and_outbox", "serve"]

log = structlog.get_logger(__name__)

MESSAGE_MAX_BYTES = 1_000_000
"""Largest message to Kafka, its own default: candidates with light curves outgrow short dead letters."""


def serve(
    settings: Settings,
    stop: threading.Event,
    *,
    on_batch: Callable[[BatchOutcome], None] | None = None,
    hurry: threading.Event | None = None,
    workers: int = 1,
    worker: int = 0,
) -> None:
    """Run the service until the stop event.

    Parameters
    ----------
    settings
        As for `broker-plugin run`.
    stop
        Set it to stop in order.
    on_batch
        Is called with each batch that was delivered.
    hurry
        Set it to have the bundle repository looked at now.
    workers
        How many processes were started with this one; more than there are partitions are warned of.
    worker
        Number of this process among them; they are spread over the GPUs.

    Raises
    ------
    ConfigurationError
        If the settings cannot work.
    TransientError
        If Kafka or the registry is away at the start, or at the end with a batch uncommitted.
    TokenError
        If no token lets us into Kafka.
    BatchAbandonedError
        If a batch was still being judged at the stop deadline, or takes longer than any should.
    """
    check_service(settings)
    with suppress(OpeningAbandonedError), ExitStack() as stack:
        health = Health(patience_s=settings.ready_patience_s)
        metrics = Metrics(str(settings.survey), topics=settings.topics, batch_max=settings.batch_max)
        if settings.metrics_port is not None:
            server = HealthServer(health, metrics, host=settings.metrics_host, port=settings.metrics_port)
            stack.enter_context(server)
        instance = stack.enter_context(take_instance(settings.group, settings.instance))
        recipe = replace(_recipe(settings), worker=worker)
        models = stack.enter_context(
            open_models(
                settings, recipe, metrics.registry, stop, shadow=_shadow(settings, recipe, stop), hurry=hurry
            )
        )
        outbox = _outbox(settings, stop)
        source = _source(settings, instance.member_id)
        ledger = open_ledger(settings, stop, ends_reached=source.ends_reached)
        watchdog = Watchdog(stuck_s=stuck_after_s(settings))
        monitor = Monitors((metrics, health, watchdog, models.monitor))
        sink, delivery = _delivery(settings, source, instance.member_id, ledger, beat=monitor.beat)
        memory = recipe.recollection()
        if memory is not None and recipe.memory is not None:
            _look_at_store(recipe.memory)
            stack.callback(_let_go, memory)
            metrics.registry.register(StoreCollector(memory))
        runner = Runner(
            source,
            sink,
            recipe.filter(models.scorer, memory=memory),
            outbox,
            delivery=delivery,
            batcher=Batcher(
                batch_max=settings.batch_max,
                batch_max_bytes=settings.batch_max_bytes,
                batch_age_s=settings.batch_age_s,
            ),
            stop=stop,
            stop_deadline_s=settings.stop_deadline_s,
            reject_rate=RejectRate(
                share=settings.reject_share_max,
                window=settings.reject_window,
                accepted=parse_reasons(settings.accept_rejects),
            ),
            monitor=monitor,
            on_batch=on_batch,
            between_batches=models.between_batches,
            when_idle=(lambda: None) if memory is None else memory.catch_up,
        )
        deadline_s = settings.start_deadline_s
        source.connect(deadline_s=deadline_s, stop=stop)
        _warn_of_idle_workers(source, settings, workers, stop)
        sink.connect(written_topics(settings), deadline_s=deadline_s, stop=stop)
        if isinstance(sink, TransactionalKafkaSink) and not stop.is_set():
            # Now, not with the first batch: while a killed process's transaction is open, there is none.
            patiently(sink.open, settings, stop)
        if settings.output_bootstrap and not stop.is_set():
            check_clusters(settings, source=source.cluster_id(), sink=sink.cluster_id())
        health.warmed_up()
        stack.enter_context(watchdog)
        log.info(
            "started",
            version=__version__,
            survey=settings.survey,
            input=settings.topics,
            output=settings.output,
            dead_letters=settings.dead_letters,
            group=settings.group,
            instance=instance.name,
            delivery=settings.delivery,
            store=recipe.memory.address.shown if recipe.memory else settings.store,
        )
        stack.enter_context(lasting())
        runner.run()


def judge_and_outbox(settings: Settings) -> tuple[AlertFilter, Outbox]:
    """Return what turns dead letters into verdicts for the output, by the settings of the service.

    They say that they are archival, and make no candidates: what was dead for days triggers no telescope.
    """
    late = Tense.ARCHIVAL if settings.tense == Tense.CURRENT else settings.tense
    quiet = settings.model_copy(update={"routes": type(settings.routes)(), "embeddings": "", "tense": late})
    # What is dead is judged one by one, by its packet alone.
    recipe = replace(_recipe(quiet), pause_on_drift=False, memory=None)
    return recipe.filter(recipe.scorer()), _outbox(quiet, threading.Event())


def _warn_of_idle_workers(
    source: KafkaSource, settings: Settings, workers: int, stop: threading.Event
) -> None:
    if workers == 1 or stop.is_set():
        return
    try:
        partitions = source.n_partitions()
    except BrokerPluginError as error:
        log.info("partitions_not_counted", why=str(error))
        return
    if 0 < partitions < workers:  # a pattern may have no topics yet
        log.warning(
            "more_workers_than_partitions",
            workers=workers,
            partitions=partitions,
            input=settings.topics,
            consequence="some have nothing to do until another ends; use fewer workers, or more partitions",
        )


def _recipe(settings: Settings) -> FilterRecipe:
    return FilterRecipe(
        bundle=located_bundle(settings),
        device=settings.device,
        class_prior=settings.class_prior,
        decision_rule=settings.decision_rule,
        tense=settings.tense,
        surveys=(str(settings.survey),),
        access=parse_access(settings.access),
        input_registry=settings.input_registry,
        schemas=(settings.schemas,) if settings.schemas else (),
        embeddings=bool(settings.embeddings),
        keep_alerts=bool(settings.routes),
        pause_on_drift=RejectReason.MISSING_FIELD not in parse_reasons(settings.accept_rejects),
        memory=store_recipe(settings),
        limits=settings.limits.values(),
    )


def _look_at_store(recipe: MemoryRecipe) -> None:
    try:
        log.info("store_opened", store=recipe.check())
    except StoreError as error:
        log.warning("store_away", why=str(error), consequence="alerts go on from the packet alone, flagged")


def _let_go(memory: Recollection) -> None:
    if are_at_work():
        # A batch was given up, and its thread is in there still: what waits is lost, as with a kill.
        log.warning("history_not_written", objects=len(memory.backlog))
    else:
        memory.close()


def _shadow(settings: Settings, recipe: FilterRecipe, stop: threading.Event) -> ShadowRecipe | None:
    if not settings.shadow:
        return None
    bundle = shadow_bundle(settings)
    open_bundle(bundle)  # what cannot be opened is refused here, before the stream begins
    return ShadowRecipe(
        recipe=replace(recipe, bundle=bundle, embeddings=False, keep_alerts=False, memory=None),
        topic=settings.shadow_topic,
        address=sink_address(settings),
        ack_timeout_s=settings.ack_timeout_s,
        schema_id=_schema_id(settings, settings.shadow_topic, stop),
        prepare=partial(configure_logging, settings.log_format, settings.log_level),
    )


def _outbox(settings: Settings, stop: threading.Event) -> Outbox:
    return Outbox(
        settings.output,
        _dead_letters(settings),
        encode=_encoding(settings, stop),
        routes=open_routes(settings, stop),
        embeddings=open_embeddings(settings, stop),
    )


def _dead_letters(settings: Settings) -> DeadLetters:
    declared, undecodable = parse_dead_letter_access(settings.dead_letters_access)
    return DeadLetters(
        topic=settings.dead_letters,
        declared=declared,
        undecodable=undecodable,
        max_bytes=settings.dead_letters_max_bytes,
    )


def _encoding(settings: Settings, stop: threading.Event) -> Encode:
    schema_id = _schema_id(settings, settings.output, stop)
    return encode_container if schema_id is None else framed(schema_id)


def _schema_id(settings: Settings, topic: str, stop: threading.Event) -> int | None:
    """Return the id of the verdict schema for a topic, None without a registry."""
    if not settings.registry:
        return None
    registry = SchemaRegistry(settings.registry)
    subject = f"{topic}-value"
    schema_id = patiently(partial(registry.register_verdict_schema, subject), settings, stop)
    log.info("schema_registered", subject=subject, schema_id=schema_id)
    return schema_id


def _source(settings: Settings, member_id: str) -> KafkaSource:
    return KafkaSource(
        source_address(settings),
        settings.topics,
        group=settings.group,
        instance=member_id,
        protocol=settings.group_protocol,
        start=StartPolicy(
            offset_reset=settings.offset_reset,
            on_lost=settings.on_lost_offsets,
            start_at_ms=milliseconds(parse_moment(settings.start_at)) if settings.start_at else None,
            force=settings.force_start,
        ),
        batch_max_bytes=settings.batch_max_bytes,
    )


def _delivery(
    settings: Settings,
    source: KafkaSource,
    member_id: str,
    ledger: Ledger | None,
    *,
    beat: Callable[[], None],
) -> tuple[KafkaSink, Delivery]:
    address, timeout_s = sink_address(settings), settings.ack_timeout_s
    limit = max(settings.dead_letters_max_bytes, MESSAGE_MAX_BYTES)  # the dead letters shorten themselves
    if settings.delivery == "exactly-once":
        transactional = TransactionalKafkaSink(
            address, transactional_id=member_id, ack_timeout_s=timeout_s, message_max_bytes=limit
        )
        return transactional, ExactlyOnce(source, transactional, ledger=ledger)

    def live() -> None:
        beat()
        source.stay()

    sink = KafkaSink(address, ack_timeout_s=timeout_s, message_max_bytes=limit, before_wait=live)
    return sink, AtLeastOnce(source, sink, ledger=ledger)
