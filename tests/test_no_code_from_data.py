# SPDX-License-Identifier: BSD-3-Clause
"""Data never becomes code, and scoring talks to nobody."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.artefacts import REPOSITORY

RUNTIME = sorted((REPOSITORY / "broker_plugin").rglob("*.py"))

FORBIDDEN_MODULES = frozenset(
    {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "code"}
)
"""Libraries that make objects, or code, of bytes."""

FORBIDDEN_CALLS = frozenset(
    {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "subprocess.call"}
)

SHELL_OR_PICKLE = frozenset({"shell", "allow_pickle"})
"""Arguments that let a shell read text, or numpy unpickle objects."""


@pytest.mark.parametrize("path", RUNTIME, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_nothing_turns_data_into_code(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            assert not {alias.name.split(".")[0] for alias in node.names} & FORBIDDEN_MODULES
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.module.split(".")[0] not in FORBIDDEN_MODULES
        elif isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in FORBIDDEN_CALLS
            for keyword in node.keywords:
                given = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                assert keyword.arg not in SHELL_OR_PICKLE or given, ast.unparse(node)


def test_scoring_talks_to_nobody_and_unpickles_nothing(data_dir: Path) -> None:
    code = """
import sys
from pathlib import Path
from broker_plugin.pipeline.assembly import FilterRecipe
from broker_plugin.streams.base import Message

recipe = FilterRecipe(device="cpu")
scorer = recipe.scorer()
scorer.warm_up()  # as the service does; it loads our own compiled code
alert_filter = recipe.filter(scorer)

def watch(event, arguments):
    if event.startswith(("socket.", "pickle.", "subprocess.", "os.system", "os.exec", "urllib.")):
        print("forbidden:", event, arguments)

sys.addaudithook(watch)
alerts = Path(sys.argv[1])
paths = sorted(alerts.glob("ztf/native/*.avro"))[:40] + sorted(alerts.glob("lsst/raw/*/*.avro"))
messages = [Message(topic="t", partition=0, offset=n, value=p.read_bytes()) for n, p in enumerate(paths)]
judgements = alert_filter.judge([*messages, Message(topic="t", partition=0, offset=99, value=b"junk")])
print("verdicts", sum(len(j.verdicts) for j in judgements))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(data_dir / "alerts")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "forbidden" not in done.stdout
    assert int(done.stdout.split()[-1]) > 40
