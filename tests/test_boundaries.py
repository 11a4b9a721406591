# SPDX-License-Identifier: BSD-3-Clause
"""The direction of imports: what the runtime must never pull in, and who may talk to whom."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest

from tests.support.artefacts import REPOSITORY
from tests.support.imports import imported_modules

RUNTIME = sorted((REPOSITORY / "broker_plugin").rglob("*.py"))
FORBIDDEN_AT_RUN_TIME = ("torch", "sklearn", "pandas", "onnx", "trainer", "export", "matplotlib")

LAYERS = (
    ("taxonomy", "records", "epochs", "upper_limits"),
    (
        "addresses",
        "allocator",
        "arrays",
        "errors",
        "expendable",
        "folders",
        "instants",
        "nights",
        "nvml",
        "object_names",
        "parent",
        "precision",
        "progress",
        "signals",
        "times",
        "vizier",
    ),
    ("kernels", "ordering", "whole_file"),
    ("surveys",),
    ("codec",),
    ("features",),
    ("strata",),
    ("bundle", "calibration", "decision", "distributions", "parity", "prior"),
    ("repository", "stream_reference"),
    ("engine",),
    ("streams",),
    ("store",),
    ("pipeline",),
    ("brokers",),
    ("service", "settings", "settings_tables"),
    ("client",),
    ("demo",),
    ("comparison",),
    ("benchmark",),
    ("commands",),
    ("cli", "__main__"),
)
"""From the lowest up: a module imports from its own layer and those below."""


IN_OTHER_BROKERS = [f"broker_plugin/brokers/{name}.py" for name in ("ampel", "antares", "fink", "pittgoogle")]
"""Modules that import their host's packages, and are imported by it alone."""


def test_importing_every_runtime_module_pulls_in_no_training_library() -> None:
    modules = [
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
        for path in RUNTIME
        if path.name != "__main__.py" and path.relative_to(REPOSITORY).as_posix() not in IN_OTHER_BROKERS
    ]
    script = (
        f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
        f"print(*[name for name in {FORBIDDEN_AT_RUN_TIME!r} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []


def test_help_imports_neither_the_engine_nor_kafka() -> None:
    script = (
        "import sys, broker_plugin.cli\n"
        "print(*[m for m in ('onnxruntime', 'confluent_kafka', 'numpy') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=REPOSITORY, check=True
    )
    assert "onnxruntime" not in result.stdout
    assert "confluent_kafka" not in result.stdout


@pytest.mark.parametrize(
    ("module", "owners"),
    [
        ("onnxruntime", ("broker_plugin/engine/",)),
        ("confluent_kafka", ("broker_plugin/streams/", "broker_plugin/codec/registry.py")),
        ("redis", ("broker_plugin/store/redis.py",)),
        ("pickle", ()),
    ],
)
def test_a_library_is_imported_only_by_its_owner(module: str, owners: tuple[str, ...]) -> None:
    for path in RUNTIME:
        name = path.relative_to(REPOSITORY).as_posix()
        if not name.startswith(owners or ("\0",)):
            roots = {imported.split(".")[0] for imported in imported_modules(path)}
            assert module not in roots, f"{name} imports {module}"


def test_no_module_reaches_back() -> None:
    rank = {name: position for position, layer in enumerate(LAYERS) for name in layer}
    for path in RUNTIME:
        own = path.relative_to(REPOSITORY / "broker_plugin").parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        assert own in rank, f"{own} has no layer: say in LAYERS where it belongs"
        for imported in imported_modules(path):
            if imported.startswith("broker_plugin."):
                other = imported.split(".")[1]
                assert rank[other] <= rank[own], f"{path.relative_to(REPOSITORY)} reaches back to {imported}"


def test_every_runtime_dependency_is_imported() -> None:
    declared = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    wanted = {re.split(r"[^A-Za-z0-9_-]", entry)[0].lower().replace("_", "-") for entry in declared}
    roots = {imported.split(".")[0] for path in RUNTIME for imported in imported_modules(path)}
    provided = packages_distributions()
    used = {name.lower().replace("_", "-") for root in roots for name in provided.get(root, ())}
    assert wanted - used == set()


def test_every_source_file_names_its_licence() -> None:
    for package in ("broker_plugin", "trainer", "export", "tests"):
        for path in (REPOSITORY / package).rglob("*.py"):
            first = path.read_text("utf-8").split("\n", 1)[0]
            assert first == "# SPDX-License-Identifier: BSD-3-Clause", path


def test_the_root_of_the_repository_has_one_name_in_tests() -> None:
    of_its_own = r"Path\(__file__\)(\.resolve\(\))?\.parents\["
    tests = (REPOSITORY / "tests").rglob("*.py")
    found = {path.name for path in tests if re.search(of_its_own, path.read_text("utf-8"))}
    # A script that is started by its path finds the tests first.
    assert found == {"artefacts.py", "damaged_records.py"}
