# SPDX-License-Identifier: BSD-3-Clause
"""An audit names what is missing, whichever witness does not know it, and nothing else."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_plugin.codec.verdict import Revision, verdict_id
from broker_plugin.pipeline.audit import Origin, Outputs, PartitionAudit, audit_partition, verdict_origin
from broker_plugin.pipeline.ledger import Stretch
from broker_plugin.pipeline.offset_ranges import OffsetRanges
from broker_plugin.streams.base import Message

PLACE = ("alerts", 0)
WINDOW = (100, 130)
INSIDE = range(*WINDOW)

offsets = st.sets(st.sampled_from(INSIDE))


def outputs(found: dict[int, int]) -> Outputs:
    """So many outputs of the messages at these offsets."""
    made = Outputs({PLACE: WINDOW})
    for offset, number in found.items():
        for _ in range(number):
            made.note(Origin(place=PLACE, offset=offset, identity=b"one"))
    return made


def stretch(first: int, last: int, gaps: tuple[tuple[int, int], ...] = ()) -> Stretch:
    return Stretch(
        night=date(2026, 11, 27),
        topic="alerts",
        partition=0,
        stretch=f"{first}",
        first_offset=first,
        last_offset=last,
        gaps=gaps,
    )


def audited(
    real: set[int], *, verdicts: set[int], letters: set[int], stretches: list[Stretch] | None
) -> PartitionAudit:
    return audit_partition(
        PLACE,
        WINDOW,
        verdicts=outputs(dict.fromkeys(verdicts, 1)),
        dead_letters=outputs(dict.fromkeys(letters, 1)),
        stretches=stretches,
        existing=lambda asked: asked & OffsetRanges.of_offsets(real),
    )


@given(real=offsets, verdicts=offsets, letters=offsets, first=st.integers(90, 129), size=st.integers(1, 60))
def test_what_one_witness_does_not_know_is_named(
    real: set[int], verdicts: set[int], letters: set[int], first: int, size: int
) -> None:
    verdicts, letters = verdicts & real, letters & real
    known = {offset for offset in real if first <= offset < first + size}
    gaps = OffsetRanges.of([(first, first + size - 1)]) - OffsetRanges.of_offsets(known)
    found = audited(
        real,
        verdicts=verdicts,
        letters=letters,
        stretches=[stretch(first, first + size - 1, tuple(gaps))] if known else [],
    )
    assert found.missing == OffsetRanges.of_offsets(real - verdicts - letters)
    assert found.unrecorded == OffsetRanges.of_offsets(real - known)
    assert found.messages == len(real)
    assert found.recorded == len(known)
    assert found.complete == (real == known == verdicts | letters)


def test_without_a_ledger_the_outputs_are_asked_alone() -> None:
    everything = set(INSIDE)
    found = audited(everything, verdicts=everything - {117}, letters=set(), stretches=None)
    assert (found.missing, found.recorded, found.complete) == (OffsetRanges.of([(117, 117)]), None, False)


def test_when_the_outputs_have_expired_the_ledger_is_asked_alone() -> None:
    def ask(stretches: list[Stretch] | None) -> PartitionAudit:
        return audit_partition(
            PLACE, WINDOW, verdicts=None, dead_letters=None, stretches=stretches, existing=lambda asked: asked
        )

    assert ask([stretch(90, 200)]).complete
    assert ask([stretch(90, 120)]).unrecorded == OffsetRanges.of([(121, 129)])
    assert not ask(None).complete


def test_outputs_that_are_there_twice_are_counted_and_alerts_of_one_message_are_not() -> None:
    made = outputs({101: 1, 102: 3})
    for identity in (b"first", b"second"):
        made.note(Origin(place=PLACE, offset=103, identity=identity))
    made.note(Origin(place=PLACE, offset=99, identity=b"of the night before"))
    made.note(Origin(place=("other", 0), offset=101, identity=b"of another topic"))
    assert (made.number(PLACE), made.repeated(PLACE), made.differing(PLACE)) == (6, 2, 0)
    assert made.offsets(PLACE) == OffsetRanges.of([(101, 103)])


def test_what_several_bundles_or_other_inputs_have_made_of_a_message_is_counted() -> None:
    made = Outputs({PLACE: WINDOW})
    for offset, identity, bundle, inputs in (
        (101, b"a", b"1", b"x"),
        (101, b"a", b"1", b"x"),  # a redelivery
        (102, b"b", b"1", b"x"),
        (102, b"B", b"2", b"x"),  # by another bundle, so it is another verdict
        (102, b"B", b"2", b"x"),
        (103, b"c", b"1", b"x"),
        (103, b"c", b"1", b"y"),  # a store had more to say by then
        (104, b"d", b"1", b"x"),  # two alerts of one message
        (104, b"e", b"1", b"y"),
    ):
        made.note(Origin(place=PLACE, offset=offset, identity=identity, bundle=bundle, inputs=inputs))
    assert (made.number(PLACE), made.repeated(PLACE), made.differing(PLACE)) == (9, 3, 2)
    assert made.offsets(PLACE) == OffsetRanges.of([(101, 104)])


@pytest.mark.parametrize("offsets", [(101, 102), (101, 101)])  # a container may hold both
def test_a_retraction_is_neither_a_duplicate_nor_missing(offsets: tuple[int, int]) -> None:
    made = Outputs({PLACE: WINDOW})
    for offset, revision in zip(offsets, (Revision.INITIAL, Revision.RETRACTION), strict=True):
        identity = verdict_id("lsst", 7, "ab", revision=revision).encode()
        made.note(Origin(place=PLACE, offset=offset, identity=identity, bundle=b"1", inputs=identity))
    assert (made.number(PLACE), made.repeated(PLACE), made.differing(PLACE)) == (2, 0, 0)
    assert made.offsets(PLACE) == OffsetRanges.of([offsets])


def test_messages_that_two_stretches_have_done_are_counted_as_redone() -> None:
    found = audited(
        set(INSIDE),
        verdicts=set(INSIDE),
        letters=set(),
        stretches=[stretch(90, 110), stretch(105, 129), stretch(108, 112)],
    )
    # 105-110 by the first two, 108-112 once more by the third.
    assert (found.redone, found.recorded, found.complete) == (6 + 5, 30, True)


def test_the_origin_of_a_verdict_is_in_its_headers() -> None:
    headers = (
        ("verdict_id", b"v"),
        ("bundle_digest", b"b"),
        ("inputs_digest", b"i"),
        ("source_topic", b"alerts"),
        ("source_partition", b"2"),
        ("source_offset", b"17"),
    )
    message = Message(topic="verdicts", partition=0, offset=0, value=b"", headers=headers)
    assert verdict_origin(message) == Origin(
        place=("alerts", 2), offset=17, identity=b"v", bundle=b"b", inputs=b"i"
    )
    assert verdict_origin(Message(topic="v", partition=0, offset=0, value=b"", headers=headers[1:])) is None
