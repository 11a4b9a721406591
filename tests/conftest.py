# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of all tests: real servers, real data, seeded randomness, and the tiers' rules.

Servers are started by the first test that asks for one, once in a run, on loopback ports:

================= ============================ ==========================================
fixture           a given server instead       what it gives
================= ============================ ==========================================
`kafka_broker`    `$ASTROM3_TEST_BOOTSTRAP`    `KafkaCluster` that all tests share
`private_kafka`   -                            makes a `KafkaBroker` to be killed and restarted
`redis_url`       `$ASTROM3_TEST_REDIS`        address of a Redis that all tests share
`private_redis`   -                            makes a `RedisServer` to be killed and restarted
`registry_url`    `$ASTROM3_TEST_REGISTRY`     Confluent-compatible address of a schema registry
`private_registry` -                           a `RegistryServer` to be killed and restarted
`promtool`         -                           Prometheus's tool; the server is on the path too
`helm`             -                           Helm
`compose_loader`   -                           the reference loader of compose files
================= ============================ ==========================================
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import structlog
from hypothesis import settings

from broker_plugin.codec.schemas import installed_lsst_schemas
from tests.support.artefacts import REPOSITORY
from tests.support.deployment_tools import (
    compose_program,
    helm_program,
    prometheus_program,
    promtool_program,
)
from tests.support.gpu_wheel import gpu_wheel_interpreter
from tests.support.inherited import keep_bytecode, one_thread_each
from tests.support.kafka import LARGE_MESSAGES, NEVER_LOST, KafkaBroker, KafkaCluster
from tests.support.openvino_wheel import openvino_interpreter
from tests.support.process import ServerUnavailableError
from tests.support.redis import RedisServer, redis_answers
from tests.support.registry import RegistryServer, registry_answers
from tests.support.secure_kafka import SecureKafka
from tests.support.tiers import TierRecorder, unavailable

# Examples take as long as the machine lets them: a deadline would test its other users.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

T = TypeVar("T")

SEED = 20_241_108
"""Any fixed number; a test that holds for one seed only is wrong."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        default=False,
        help="rewrite the golden files with what the code gives now",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(TierRecorder(), "tiers")
    keep_bytecode()
    if config.getoption("numprocesses", default=None):
        one_thread_each()


@pytest.fixture(scope="session")
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be rewritten instead of compared."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(autouse=True)
def _log_of_the_test_alone() -> None:
    """Undo what a command did to the log of this process, or the next test would see no warnings."""
    structlog.reset_defaults()


@pytest.fixture
def rng() -> np.random.Generator:
    """Seeded random numbers, the same for every test in whatever order they run."""
    return np.random.default_rng(SEED)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real data: `$ASTROM3_DATA`, or `shared/data` beside the repository."""
    folder = Path(os.environ.get("ASTROM3_DATA") or REPOSITORY.parent / "shared" / "data")
    if not (folder / "alerts").is_dir():
        unavailable(f"no real data at {folder}; set ASTROM3_DATA to the folder that holds alerts/")
    return folder


@pytest.fixture(scope="session")
def rubin_schemas() -> Path:
    """Folder of Rubin's own alert schemas, from the package that `make test` installs."""
    path = installed_lsst_schemas()
    if path is None:
        unavailable("no Rubin schemas; pip install lsst-alert-packet")
    return path


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Maker of topic names that no other test has: `topic("verdicts")`."""
    test = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:60]

    def name(role: str = "alerts") -> str:
        return f"{test}-{role}-{uuid.uuid4().hex[:8]}"

    return name


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """A real Kafka, raised to messages of 60 MiB, that all tests share: do not stop it."""
    given = os.environ.get("ASTROM3_TEST_BOOTSTRAP")
    if given:
        cluster = KafkaCluster(given)
        if not cluster.serves():
            unavailable(f"no Kafka at ASTROM3_TEST_BOOTSTRAP={given}; start it or unset the variable")
        yield cluster
        return
    folder = tmp_path_factory.mktemp("kafka")
    with _obtained(lambda: KafkaBroker(folder, properties={**LARGE_MESSAGES, **NEVER_LOST})) as broker:
        yield broker


@pytest.fixture
def private_kafka(tmp_path: Path) -> Iterator[Callable[..., KafkaBroker]]:
    """Maker of a started Kafka broker of the test's own: `private_kafka({"property": "value"})`."""
    with ExitStack() as stack:

        def start(properties: Mapping[str, str] | None = None, *, folder: Path | None = None) -> KafkaBroker:
            place = folder or tmp_path / f"kafka-{uuid.uuid4().hex[:8]}"
            return stack.enter_context(_obtained(lambda: KafkaBroker(place, properties=properties)))

        yield start


@pytest.fixture(scope="session")
def secure_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    """A real Kafka with TLS, users and ACLs that all tests share: make users of your own."""
    folder = tmp_path_factory.mktemp("secure-kafka")
    with _obtained(lambda: SecureKafka(folder)) as broker:
        yield broker


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a real Redis that all tests share: use keys of your own, do not flush or stop it."""
    given = os.environ.get("ASTROM3_TEST_REDIS")
    if given:
        if not redis_answers(given):
            unavailable(f"no Redis at ASTROM3_TEST_REDIS={given}; start it or unset the variable")
        yield given
        return
    folder = tmp_path_factory.mktemp("redis")
    with _obtained(lambda: RedisServer(folder)) as server:
        yield server.url


@pytest.fixture
def private_redis(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Maker of a started Redis of the test's own: `private_redis(durable=True)`."""
    with ExitStack() as stack:

        def start(*, durable: bool = False) -> RedisServer:
            folder = tmp_path / f"redis-{uuid.uuid4().hex[:8]}"
            return stack.enter_context(_obtained(lambda: RedisServer(folder, durable=durable)))

        yield start


@pytest.fixture(scope="session")
def registry_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a real schema registry that all tests share: use subjects of your own."""
    given = os.environ.get("ASTROM3_TEST_REGISTRY")
    if given:
        if not registry_answers(given):
            unavailable(f"no registry at ASTROM3_TEST_REGISTRY={given}; start it or unset the variable")
        yield given
        return
    folder = tmp_path_factory.mktemp("registry")
    with _obtained(lambda: RegistryServer(folder)) as server:
        yield server.url


@pytest.fixture
def private_registry(tmp_path: Path) -> Iterator[RegistryServer]:
    """A started schema registry of the test's own, to be killed and restarted; it comes back empty."""
    with _obtained(lambda: RegistryServer(tmp_path / "registry")) as server:
        yield server


@pytest.fixture(scope="session")
def gpu_wheel_python() -> Path:
    """Python of an environment with the onnxruntime-gpu wheel; run it with `in_gpu_wheel`."""
    try:
        return gpu_wheel_interpreter()
    except ServerUnavailableError as missing:
        unavailable(str(missing))


@pytest.fixture(scope="session")
def openvino_python() -> Path:
    """Python of an environment with the onnxruntime-openvino wheel; run it with `in_environment`."""
    try:
        return openvino_interpreter()
    except ServerUnavailableError as missing:
        unavailable(str(missing))


@pytest.fixture(scope="session")
def promtool() -> str:
    """Prometheus's tool for rules and scrapes, which comes with the server."""
    _obtained(prometheus_program)
    return _obtained(promtool_program)


@pytest.fixture(scope="session")
def helm() -> str:
    """Helm."""
    return _obtained(helm_program)


@pytest.fixture(scope="session")
def compose_loader() -> str:
    """The reference loader of compose files."""
    return _obtained(compose_program)


def _obtained(make: Callable[[], T]) -> T:
    # Only what cannot be had is skipped; a server that was had and does not start is a failure.
    try:
        return make()
    except ServerUnavailableError as missing:
        unavailable(str(missing))
