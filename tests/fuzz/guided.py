# SPDX-License-Identifier: BSD-3-Clause
"""The decoder under a coverage-guided fuzzer: `make guided`, or with libFuzzer's own flags

    python -m tests.fuzz.guided runs/fuzz-guided -max_total_time=1800

Needs the extra `fuzz` (atheris). What is compiled is invisible to it, so fastavro reads in its interpreted
form here. An input that ends in anything but alerts or a rejection stops the run, and lies in the folder of
findings; give that file as the only argument to see it again.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["broker_plugin.codec", "broker_plugin.surveys", "fastavro._read_py"]
):
    import fastavro
    import fastavro._read_py

    from broker_plugin.codec.decoder import Decoder
    from broker_plugin.codec.limits import Limits
    from broker_plugin.codec.schemas import SchemaStore
    from broker_plugin.errors import RejectedAlert
    from broker_plugin.records import Provenance
    from broker_plugin.surveys.registry import adapters

from tests.fuzz.corpus import Corpus, read_corpus
from tests.fuzz.mutants import mutant
from tests.support.artefacts import REPOSITORY

DATA = Path(os.environ.get("ASTROM3_DATA") or REPOSITORY.parent / "shared" / "data")
FOLDER = Path("runs/fuzz-guided")

SEED_MAX_BYTES = 20_000
"""Longer packets are the same code over again, more slowly."""

OWN_SHARE = 0.3
"""Share of mutations that know Avro; libFuzzer's own make the rest."""

SLOW = Limits(message_bytes=1_000_000, message_values=50_000, message_alerts=10)
"""Interpreted and watched, a value takes thirty times as long: the limits are the same code at any number."""

LIBFUZZER = ("-timeout=120", "-rss_limit_mb=2500", f"-max_len={4 * SEED_MAX_BYTES}")

PROVENANCE = Provenance(topic="fuzz")


def main() -> None:
    """Set up and hand over to libFuzzer, which ends the process."""
    fastavro.schemaless_reader = fastavro._read_py.schemaless_reader
    folder = next((Path(word) for word in sys.argv[1:] if not word.startswith("-")), FOLDER)
    corpus = read_corpus(DATA / "alerts")
    arguments = [sys.argv[0], *LIBFUZZER, *sys.argv[1:]]
    if not folder.is_file():
        findings = folder / "findings"
        findings.mkdir(parents=True, exist_ok=True)
        _write_seeds(corpus, folder / "corpus")
        flags = [word for word in sys.argv[1:] if word.startswith("-")]
        where = [f"-artifact_prefix={findings}/", str(folder / "corpus")]
        arguments = [sys.argv[0], *LIBFUZZER, *where, *flags]
    schemas = corpus.write_schemas((folder.parent if folder.is_file() else folder) / "schemas")
    decoder = Decoder(schemas=SchemaStore(None, [schemas]), adapters=adapters(), limits=SLOW)

    def judge(value: bytes) -> None:
        try:
            alerts = decoder.decode(value, PROVENANCE)
        except RejectedAlert:
            return
        for alert in alerts:
            alert.light_curve.flux_njy.sum()

    def mutate(value: bytes, size_max: int, seed: int) -> bytes:
        if random.Random(seed).random() < OWN_SHARE:
            made = mutant(corpus, seed).value
            if len(made) <= size_max:
                return made
        return bytes(atheris.Mutate(value, size_max))

    atheris.Setup(arguments, judge, custom_mutator=mutate)
    atheris.Fuzz()


def _write_seeds(corpus: Corpus, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(corpus.seeds):
        if len(seed.value) <= SEED_MAX_BYTES:
            (folder / f"seed-{number}").write_bytes(seed.value)


if __name__ == "__main__":
    main()
