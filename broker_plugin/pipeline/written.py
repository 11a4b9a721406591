# SPDX-License-Identifier: BSD-3-Clause
"""Judgements into two files: the verdicts, and the dead letters as JSON lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from broker_plugin.pipeline.dead_letter_file import to_json
from broker_plugin.pipeline.dead_letters import DeadLetters
from broker_plugin.pipeline.filter import Judgement
from broker_plugin.streams.output_files import complete_files
from broker_plugin.streams.verdict_files import check_format

__all__ = ["FOREIGN", "VERDICT", "write_judgements"]

VERDICT = "verdict"
"""Name under which verdicts are counted, among the reasons of dead letters."""

FOREIGN = "foreign"
"""Name under which those dead letters are counted once more that no survey knows for alerts."""


def write_judgements(
    batches: Iterable[Sequence[Judgement]],
    letters: DeadLetters,
    outputs: tuple[Path, Path],
    *,
    advance: Callable[[Counter[str]], None] = lambda counts: None,
    all_written: Callable[[], None] = lambda: None,
) -> Counter[str]:
    """Write judgements, and return how many verdicts there were and how many dead letters by reason.

    Those that are records of something else are counted beside. Both files appear when all is written.

    Parameters
    ----------
    letters
        Makes the dead letters.
    outputs
        Files of the verdicts and of the dead letters.
    advance
        Is told the counts after each batch.
    all_written
        Is called before the files appear.
    """
    counts: Counter[str] = Counter()
    with complete_files(*outputs, all_written=all_written) as (verdict_handle, dead_letters):
        verdicts = check_format(outputs[0])(verdict_handle)
        for judgements in batches:
            verdicts.write([verdict for judgement in judgements for verdict in judgement.verdicts])
            rejected = [(j.message, j.rejection) for j in judgements if j.rejection is not None]
            dead_letters.writelines(f"{to_json(letters.pack(*pair))}\n".encode() for pair in rejected)
            counts.update(_outcomes(judgements))
            advance(counts)
        verdicts.finish()
    return counts


def _outcomes(judgements: Sequence[Judgement]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for judgement in judgements:
        if judgement.rejection is None:
            counts[VERDICT] += len(judgement.verdicts)
        else:
            counts[str(judgement.rejection.reason)] += 1
            counts[FOREIGN] += judgement.rejection.foreign
    return counts
