# SPDX-License-Identifier: BSD-3-Clause
"""Everything that a run needs, looked at one by one: what there is, what is wrong and what to do about it."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from importlib import metadata

from broker_plugin import __version__
from broker_plugin.bundle import open_bundle
from broker_plugin.codec.bulk import compiled_kernels as decoder_kernels
from broker_plugin.codec.registry import SchemaRegistry
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.engine.processor import PRODUCT_SHAPE, describe_processor, matmul_gflops
from broker_plugin.engine.providers import Device, choose
from broker_plugin.engine.runtime import load_runtime, named_wheels, offered_providers
from broker_plugin.engine.scorer import Scorer
from broker_plugin.errors import BrokerPluginError, ProviderError, RejectedAlert, TransientError
from broker_plugin.features.warm_up import compiled_kernels as feature_kernels
from broker_plugin.service.addresses import sink_address, source_address
from broker_plugin.service.clusters import check_clusters
from broker_plugin.service.consistency import REQUIRED, check_service, store_recipe
from broker_plugin.service.models import located_bundle, shadow_bundle
from broker_plugin.service.outputs import written_topics
from broker_plugin.settings import Settings, flag
from broker_plugin.streams.kafka import KafkaAddress
from broker_plugin.streams.kafka_rights import require_rights
from broker_plugin.streams.probe import client_version, probe_cluster

__all__ = ["Check", "Outcome", "diagnose"]

LIBRARIES = ("numpy", "fastavro", "confluent-kafka", "pyarrow", "numba", "pyerfa", "pydantic")
"""Libraries whose version a report of a fault should hold."""

LSST_SCHEMA_IDS = (701, 702, 703, 704, 800, 900, 1000, 1100, 1101)
"""Ids of Rubin's alert schemas from 7.1 to 11.1: 100 times the major version plus the minor."""


class Outcome(StrEnum):
    """How a check went. Only `failed` says that something which was asked for does not work."""

    OK = "ok"
    NOTE = "note"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at, what was found, and what to do about it (empty where nothing)."""

    name: str
    outcome: Outcome
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    found: str
    remedy: str = ""
    outcome: Outcome = Outcome.OK


def diagnose(settings: Settings) -> Iterator[Check]:
    """Look at everything that a run with these settings needs. A check whose needs failed is skipped."""
    failed: set[str] = set()
    for name, look, needs in CHECKS:
        missing = [need for need in needs if need in failed]
        if missing:
            finding = _Finding(found=f"needs {', '.join(missing)}", outcome=Outcome.SKIPPED)
        else:
            finding = _look(look, settings)
        if finding.outcome is Outcome.FAILED or missing:
            failed.add(name)
        yield Check(name=name, outcome=finding.outcome, found=finding.found, remedy=finding.remedy)


def _look(look: Callable[[Settings], _Finding], settings: Settings) -> _Finding:
    try:
        return look(settings)
    except BrokerPluginError as error:
        return _Finding(found=error.found, remedy=error.remedy, outcome=Outcome.FAILED)
    except Exception as error:  # whatever breaks in here is a finding too, and the other checks go on
        return _Finding(
            found=f"{type(error).__name__}: {error}",
            remedy="this should not happen; report it with the output of `broker-plugin doctor --json`",
            outcome=Outcome.FAILED,
        )


def _python(settings: Settings) -> _Finding:
    where = f"{platform.python_implementation()} {platform.python_version()}, {platform.platform(terse=True)}"
    return _Finding(found=f"astrom3-broker {__version__}, {where}")


def _libraries(settings: Settings) -> _Finding:
    versions = [f"{name} {metadata.version(name)}" for name in LIBRARIES]
    return _Finding(found=", ".join([*versions, f"librdkafka {client_version()}"]))


def _kernels(settings: Settings) -> _Finding:
    places = {"decoder": decoder_kernels(), "features": feature_kernels()}
    missing = [name for name, (_, are_there) in places.items() if not are_there]
    folders = " and ".join(str(place) for place, _ in places.values())
    if not missing:
        return _Finding(found=f"compiled, in {folders}")
    names = " and ".join(missing)
    return _Finding(
        found=f"{names} not compiled yet, to be kept in {folders}: the next start takes some seconds longer",
        remedy="`broker-plugin doctor --warm` compiles them now, as when an image is built",
        outcome=Outcome.NOTE,
    )


def _processor(settings: Settings) -> _Finding:
    processor = describe_processor()
    known = " ".join(processor.features) or "instruction sets unknown"
    return _Finding(found=f"{processor.name}, {processor.cores} cores for us; {known}")


def _runtime(settings: Settings) -> _Finding:
    load_runtime()
    # "Built for" and not "has": the CUDA wheel names CUDA on any machine.
    return _Finding(found=f"{named_wheels()}, built for {', '.join(offered_providers())}")


def _cpu(settings: Settings) -> _Finding:
    choice = choose(Device.CPU)
    shape = " x ".join(str(length) for length in PRODUCT_SHAPE)
    rate = f"{matmul_gflops():.0f} GFLOP/s a thread (matrix product {shape})"
    return _Finding(found=f"{choice.provider}, {choice.precision}: {rate}")


def _cuda(settings: Settings) -> _Finding:
    try:
        choice = choose(Device.CUDA)
    except ProviderError as error:
        if settings.device == "cuda":
            raise
        return _Finding(found=error.found, outcome=Outcome.SKIPPED)
    return _Finding(found=f"{choice.provider}, {choice.precision}: {choice.reason}")


def _device(settings: Settings) -> _Finding:
    choice = choose(settings.device)
    found = f"{choice.device}: {choice.reason}"
    if choice.warnings:
        return _Finding(found=found, remedy="; ".join(choice.warnings), outcome=Outcome.NOTE)
    return _Finding(found=found)


def _bundle(settings: Settings) -> _Finding:
    bundle = open_bundle(located_bundle(settings))
    manifest = bundle.manifest
    return _Finding(
        found=f"{manifest.name} {manifest.version} at {bundle.path}: {len(bundle.contents)} files, each with "
        f"the digest that the manifest says; bundle digest {bundle.digest[:16]}"
    )


def _shadow(settings: Settings) -> _Finding:
    if not settings.shadow:
        return _Finding(found="no --shadow was given", outcome=Outcome.SKIPPED)
    manifest = open_bundle(shadow_bundle(settings)).manifest
    return _Finding(found=f"{manifest.name} {manifest.version}, every file as its manifest says")


def _graphs(settings: Settings) -> _Finding:
    start_s = time.perf_counter()
    scorer = Scorer.open(
        located_bundle(settings),
        device=settings.device,
        class_prior=settings.class_prior,
        decision_rule=settings.decision_rule,
    )
    scorer.warm_up()
    spent_s = time.perf_counter() - start_s
    return _Finding(
        found=f"every graph ran at every shape on {scorer.provider.provider}, {spent_s:.1f} s in all"
    )


def _settings(settings: Settings) -> _Finding:
    missing = [flag(name) for name in REQUIRED if not getattr(settings, name)]
    if len(missing) == len(REQUIRED):
        return _Finding(found="no service was described", outcome=Outcome.SKIPPED)
    if missing:
        return _Finding(
            found=f"not all that `run` needs: {' '.join(missing)}",
            remedy="give these too to have them looked at",
            outcome=Outcome.NOTE,
        )
    check_service(settings)
    return _Finding(found="all that `run` needs, without contradictions")


def _input(settings: Settings) -> _Finding:
    if not settings.bootstrap:
        return _Finding(found="no --bootstrap was given", outcome=Outcome.SKIPPED)
    address, topics = source_address(settings), settings.topics
    return _cluster(
        address,
        topics,
        rights=partial(require_rights, address, read=topics, group=settings.group),
        missing=Outcome.FAILED,
        remedy="correct --input, or wait until the survey makes tonight's topic",
    )


def _output(settings: Settings) -> _Finding:
    topics = written_topics(settings)
    if not settings.sink_bootstrap or not (topics or settings.output_bootstrap):
        return _Finding(found="no --output was given", outcome=Outcome.SKIPPED)
    if settings.output_bootstrap and settings.bootstrap:
        with suppress(TransientError):  # the finding of another check
            source = probe_cluster(source_address(settings)).cluster_id
            check_clusters(settings, source=source, sink=probe_cluster(sink_address(settings)).cluster_id)
    address = sink_address(settings)
    return _cluster(
        address,
        topics,
        rights=partial(require_rights, address, write=topics),
        missing=Outcome.NOTE,
        remedy="make them with `broker-plugin topics`, unless this cluster makes a topic when first written",
    )


def _cluster(
    address: KafkaAddress,
    topics: Sequence[str],
    *,
    rights: Callable[[], None],
    missing: Outcome,
    remedy: str,
) -> _Finding:
    try:
        probe = probe_cluster(address, topics)
    except TransientError as error:
        return _Finding(
            found=str(error),
            remedy="see that the cluster is up, that this is its address (in a container, localhost is the "
            "container itself) and that security.protocol in the [kafka] tables fits: a broker that wants "
            "TLS or a password hangs up on those who come without",
            outcome=Outcome.FAILED,
        )
    rights()
    seen = [f"{probe.brokers} brokers at {address.bootstrap}"]
    seen += [f"{topic}: {count or 'no'} partitions" for topic, count in probe.partitions.items()]
    if all(probe.partitions.values()):
        return _Finding(found="; ".join(seen))
    return _Finding(found="; ".join(seen), remedy=remedy, outcome=missing)


def _input_registry(settings: Settings) -> _Finding:
    return _registry(settings.input_registry, "--input-registry")


def _output_registry(settings: Settings) -> _Finding:
    return _registry(settings.registry, "--registry")


def _registry(url: str, spelling: str) -> _Finding:
    if not url:
        return _Finding(found=f"no {spelling} was given", outcome=Outcome.SKIPPED)
    registry = SchemaRegistry(url)
    with closing(registry):
        registry.schema_text(1)  # whether it knows this id or not: it answers as a registry
    return _Finding(found=f"{registry.url} answers")


def _schemas(settings: Settings) -> _Finding:
    if settings.survey == "ztf":
        return _Finding(found="ZTF's messages bring their schema", outcome=Outcome.SKIPPED)
    registry = SchemaRegistry(settings.input_registry) if settings.input_registry else None
    with closing(registry) if registry else nullcontext():
        store = SchemaStore(registry, [settings.schemas] if settings.schemas else [])
        known = [str(schema_id) for schema_id in LSST_SCHEMA_IDS if _has_schema(store, schema_id)]
    if known:
        return _Finding(found=f"Rubin's alert schemas with the ids {', '.join(known)}")
    return _Finding(
        found="none of Rubin's alert schemas: its framed messages cannot be read",
        remedy="give --input-registry URL or --schemas DIR, or install `astrom3-broker[lsst-schemas]`",
        outcome=Outcome.FAILED if settings.survey == "lsst" else Outcome.NOTE,
    )


def _has_schema(store: SchemaStore, schema_id: int) -> bool:
    try:
        store.writer_schema(schema_id)
    except (RejectedAlert, TransientError):  # a registry that is silent is the finding of another check
        return False
    return True


def _store(settings: Settings) -> _Finding:
    recipe = store_recipe(settings)
    if recipe is None:
        return _Finding(
            found="no --store was given: verdicts rest on the packet alone", outcome=Outcome.SKIPPED
        )
    return _Finding(found=recipe.check())


CHECKS: tuple[tuple[str, Callable[[Settings], _Finding], tuple[str, ...]], ...] = (
    ("python", _python, ()),
    ("libraries", _libraries, ()),
    ("kernels", _kernels, ()),
    ("processor", _processor, ()),
    ("onnx runtime", _runtime, ()),
    ("cpu", _cpu, ("onnx runtime",)),
    ("cuda", _cuda, ("onnx runtime",)),
    ("device", _device, ("onnx runtime", "cuda")),
    ("bundle", _bundle, ()),
    ("graphs", _graphs, ("device", "bundle")),
    ("shadow", _shadow, ()),
    ("settings", _settings, ()),
    ("input", _input, ()),
    ("output", _output, ()),
    ("input registry", _input_registry, ()),
    ("output registry", _output_registry, ()),
    ("schemas", _schemas, ()),
    ("store", _store, ()),
)
"""Name, check, and which checks must not have failed before it; in the order in which a run needs them."""
