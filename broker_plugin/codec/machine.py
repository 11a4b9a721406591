# SPDX-License-Identifier: BSD-3-Clause
"""The machine that runs compiled programs over Avro bytes, without an object a value and without the GIL.

It reads what a program asks for into matrices and steps over the rest. It promises two things of any bytes:
no read outside them, and that what it accepts is what a full reader would have read. Where it is not sure, a
text that is not ASCII or a number spelt in more bytes than it needs, it gives the message up; whoever called
reads that message by other means.

Importing this compiles the machine or loads it from its cache, which takes seconds or half of one.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.codec.packets import SYNC_BYTES
from broker_plugin.codec.program import Op
from broker_plugin.kernels import kernel, overload_address
from broker_plugin.surveys.columns import ABSENT, OTHER
from broker_plugin.surveys.fields import TEXT_MAX

__all__ = ["GIVEN_UP", "NO_ROOM", "run_segments"]

IntArray = NDArray[np.int64]
Integer = Any
"""An integer of the machine: numpy's in plain Python, 64 bits once compiled."""

NO_ROOM = -1
"""The matrices are full; what was read before is sound."""

GIVEN_UP = -2
"""The bytes do not follow the schema, or do so in a way that is left to a full reader."""

ROWS_MAX = 50_000
"""Most rows of one array of a message: twenty times the longest history of our sample. Longer ones are left
to the full reader and its limits, so that a few bytes a row cannot fill the matrices of a whole batch."""

REPEATED_MAX = 256
"""Most different texts in rows: bands, signs and status codes are a few dozen."""

DEPTH_MAX = 66
"""Arrays within arrays; a vetted schema is no deeper than 64 types."""

UNTIL_SYNC = -1
"""In place of a segment's number of records: it is the blocks of a container file, its marker first."""

OP_END = int(Op.END)
OP_SKIP_INTEGER = int(Op.SKIP_INTEGER)
OP_SKIP_BYTES_OF = int(Op.SKIP_BYTES_OF)
OP_SKIP_SIZED = int(Op.SKIP_SIZED)
OP_SKIP_TEXT = int(Op.SKIP_TEXT)
OP_SKIP_BOOLEAN = int(Op.SKIP_BOOLEAN)
OP_SKIP_ENUM = int(Op.SKIP_ENUM)
OP_SKIP_NULLABLE_RUN = int(Op.SKIP_NULLABLE_RUN)
OP_READ_FLOAT = int(Op.READ_FLOAT)
OP_READ_DOUBLE = int(Op.READ_DOUBLE)
OP_READ_INTEGER_AS_NUMBER = int(Op.READ_INTEGER_AS_NUMBER)
OP_READ_INTEGER = int(Op.READ_INTEGER)
OP_READ_TEXT = int(Op.READ_TEXT)
OP_READ_CODED_INTEGER = int(Op.READ_CODED_INTEGER)
OP_READ_CODED_BOOLEAN = int(Op.READ_CODED_BOOLEAN)
OP_MARK_OTHER = int(Op.MARK_OTHER)
OP_UNION = int(Op.UNION)
OP_JUMP = int(Op.JUMP)
OP_ARRAY = int(Op.ARRAY)
OP_MAP = int(Op.MAP)
OP_NEXT = int(Op.NEXT)

# Positions in a table's line of `tables`.
NUMBERS, OTHERS, WIDTH_NUMBERS, WIDTH_OTHERS, ROOM, USED = 0, 1, 2, 3, 4, 5
TABLE_WIDTH = 6

# Positions in `counts`.
PACKETS, TEXTS, POOL, REPEATED = 0, 1, 2, 3


def bytes_at(address: int, size: int) -> NDArray[np.uint8]:
    """Return the bytes at an address as an array; whoever calls keeps them alive."""
    return np.ctypeslib.as_array((ctypes.c_uint8 * int(size)).from_address(int(address)))


overload_address(bytes_at)


@kernel
def varint(data: NDArray[np.uint8], pos: Integer, end: Integer) -> tuple[Integer, Integer]:
    """Return an integer and the position behind it; that is -1 where there is none."""
    if pos >= end:
        return 0, -1
    byte = np.uint64(data[pos])
    if byte < np.uint64(0x80):
        return np.int64(byte >> np.uint64(1)) ^ -np.int64(byte & np.uint64(1)), pos + 1
    value = byte & np.uint64(0x7F)
    shift = np.uint64(7)
    for _ in range(9):
        pos += 1
        if pos >= end:
            return 0, -1
        byte = np.uint64(data[pos])
        value |= (byte & np.uint64(0x7F)) << shift
        if byte < np.uint64(0x80):
            if byte == np.uint64(0) or (shift == np.uint64(63) and byte > np.uint64(1)):
                return 0, -1  # more bytes than it takes, or than 64 bits hold
            return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), pos + 1
        shift += np.uint64(7)
    return 0, -1


@kernel
def plain_end(data: NDArray[np.uint8], pos: Integer, end: Integer) -> Integer:
    """Return the position behind an ASCII text; -1 where there is none."""
    length, pos = varint(data, pos, end)
    if pos < 0 or length < 0 or length > end - pos:
        return -1
    seen = np.uint8(0)
    for at in range(pos, pos + length):
        seen |= data[at]
    return pos + length if seen < np.uint8(0x80) else -1


@kernel
def sized_end(data: NDArray[np.uint8], pos: Integer, end: Integer) -> Integer:
    """Return the position behind bytes with their length in front; -1 where there are none."""
    length, pos = varint(data, pos, end)
    if pos < 0 or length < 0 or length > end - pos:
        return -1
    return pos + length


@kernel
def put_text(
    data: NDArray[np.uint8],
    begin: Integer,
    end: Integer,
    repeats: bool,
    counts: IntArray,
    pool: NDArray[np.uint8],
    bounds: IntArray,
    repeated: IntArray,
) -> Integer:
    """Return the number of a text among all texts, which it becomes one of; below 0 an error."""
    length = end - begin
    if length > TEXT_MAX:
        return -3  # stands for nothing
    if repeats:
        for place in range(counts[REPEATED]):
            known = repeated[place]
            start = bounds[known]
            if bounds[known + 1] - start == length:
                at = 0
                while at < length and pool[start + at] == data[begin + at]:
                    at += 1
                if at == length:
                    return known
        if counts[REPEATED] == REPEATED_MAX:
            return GIVEN_UP
    number, start = counts[TEXTS], counts[POOL]
    if number + 1 >= len(bounds) or start + length > len(pool):
        return NO_ROOM
    for at in range(length):
        pool[start + at] = data[begin + at]
    bounds[number + 1] = start + length
    counts[TEXTS], counts[POOL] = number + 1, start + length
    if repeats:
        repeated[counts[REPEATED]] = number
        counts[REPEATED] += 1
    return number


@kernel
def read_record(
    code: IntArray,
    data: NDArray[np.uint8],
    pos: Integer,
    end: Integer,
    numbers: NDArray[np.float64],
    others: IntArray,
    tables: IntArray,
    first_row: IntArray,
    counts: IntArray,
    pool: NDArray[np.uint8],
    bounds: IntArray,
    repeated: IntArray,
    left: IntArray,
    bits32: NDArray[np.uint32],
    float32: NDArray[np.float32],
    bits64: NDArray[np.uint64],
    float64: NDArray[np.float64],
) -> Integer:
    """Read one record; return the position behind it, or an error."""
    depth = -1
    head = counts[PACKETS]
    number_at = tables[0, NUMBERS] + head * tables[0, WIDTH_NUMBERS]
    other_at = tables[0, OTHERS] + head * tables[0, WIDTH_OTHERS]
    pc = 0
    while True:
        op, null, second = code[pc, 0], code[pc, 1], code[pc, 2]
        if op == OP_END:
            return pos
        if op == OP_JUMP:
            pc = second
            continue
        if op == OP_SKIP_NULLABLE_RUN:
            for _ in range(code[pc, 3]):
                if pos >= end:
                    return GIVEN_UP
                branch = np.int64(data[pos])
                pos += 1
                if branch != 2 * null:
                    if branch != 2 - 2 * null:
                        return GIVEN_UP
                    pos += second
            if pos > end:
                return GIVEN_UP
            pc += 1
            continue
        if op == OP_UNION:
            if pos >= end:
                return GIVEN_UP
            branch = np.int64(data[pos])
            pos += 1
            if branch & 1 or branch >= 2 * second:
                return GIVEN_UP
            pc = code[pc + 1 + (branch >> 1), 2]
            continue
        if op == OP_MARK_OTHER:
            others[other_at + second] = OTHER
            pc += 1
            continue
        if op == OP_NEXT:
            loop = second
        else:
            loop = pc
            if null >= 0:
                if pos >= end:
                    return GIVEN_UP
                branch = np.int64(data[pos])
                pos += 1
                if branch == 2 * null:
                    pc = second if op in (OP_ARRAY, OP_MAP) else pc + 1
                    continue
                if branch != 2 - 2 * null:
                    return GIVEN_UP
        if op == OP_READ_FLOAT:
            if end - pos < 4:
                return GIVEN_UP
            bits32[0] = (
                np.uint32(data[pos])
                | (np.uint32(data[pos + 1]) << np.uint32(8))
                | (np.uint32(data[pos + 2]) << np.uint32(16))
                | (np.uint32(data[pos + 3]) << np.uint32(24))
            )
            numbers[number_at + second] = float32[0]
            pos += 4
        elif op == OP_READ_DOUBLE:
            if end - pos < 8:
                return GIVEN_UP
            word = np.uint64(0)
            for at in range(8):
                word |= np.uint64(data[pos + at]) << np.uint64(8 * at)
            bits64[0] = word
            numbers[number_at + second] = float64[0]
            pos += 8
        elif op == OP_SKIP_BYTES_OF:
            if second > end - pos:
                return GIVEN_UP
            pos += second
        elif op == OP_SKIP_INTEGER:
            _, pos = varint(data, pos, end)
            if pos < 0:
                return GIVEN_UP
        elif op == OP_READ_INTEGER:
            value, pos = varint(data, pos, end)
            if pos < 0 or value <= OTHER:
                return GIVEN_UP
            others[other_at + second] = value
        elif op == OP_READ_INTEGER_AS_NUMBER:
            value, pos = varint(data, pos, end)
            if pos < 0:
                return GIVEN_UP
            numbers[number_at + second] = np.float64(value)
        elif op == OP_SKIP_TEXT:
            pos = plain_end(data, pos, end)
            if pos < 0:
                return GIVEN_UP
        elif op == OP_READ_TEXT:
            _, begin = varint(data, pos, end)
            pos = plain_end(data, pos, end)
            if pos < 0:
                return GIVEN_UP
            number = put_text(data, begin, pos, code[pc, 3] == 1, counts, pool, bounds, repeated)
            if number in (NO_ROOM, GIVEN_UP):
                return number
            others[other_at + second] = number if number >= 0 else -1
        elif op == OP_SKIP_SIZED:
            pos = sized_end(data, pos, end)
            if pos < 0:
                return GIVEN_UP
        elif op == OP_SKIP_ENUM:
            value, pos = varint(data, pos, end)
            if pos < 0 or value < 0 or value >= second:
                return GIVEN_UP
        elif op in (OP_SKIP_BOOLEAN, OP_READ_CODED_BOOLEAN):
            if pos >= end or data[pos] > 1:
                return GIVEN_UP
            if op == OP_READ_CODED_BOOLEAN:
                others[other_at + second] = -2 - np.int64(data[pos])
            pos += 1
        elif op == OP_READ_CODED_INTEGER:
            value, pos = varint(data, pos, end)
            if pos < 0 or value < 0 or value > 2**62:
                return GIVEN_UP
            others[other_at + second] = -2 - value
        else:  # OP_ARRAY, OP_MAP or OP_NEXT
            table = code[loop, 3]
            if op != OP_NEXT:
                depth += 1
                if depth >= DEPTH_MAX:
                    return GIVEN_UP
                left[depth] = 0
            if left[depth] == 0:
                count, pos = varint(data, pos, end)
                if pos < 0:
                    return GIVEN_UP
                if count < 0:
                    count = -count
                    _, pos = varint(data, pos, end)
                    if pos < 0:
                        return GIVEN_UP
                if count < 0 or count > end - pos:  # a value takes a byte at the least
                    return GIVEN_UP
                if count == 0:
                    depth -= 1
                    if table >= 0:
                        number_at = tables[0, NUMBERS] + head * tables[0, WIDTH_NUMBERS]
                        other_at = tables[0, OTHERS] + head * tables[0, WIDTH_OTHERS]
                    pc = code[loop, 2]
                    continue
                left[depth] = count
            left[depth] -= 1
            if code[loop, 0] == OP_MAP:
                pos = plain_end(data, pos, end)
                if pos < 0:
                    return GIVEN_UP
            if table >= 0:
                row = tables[table + 1, USED]
                if row - first_row[table + 1] >= ROWS_MAX:
                    return GIVEN_UP
                if row >= tables[table + 1, ROOM]:
                    return NO_ROOM
                tables[table + 1, USED] = row + 1
                number_at = tables[table + 1, NUMBERS] + row * tables[table + 1, WIDTH_NUMBERS]
                other_at = tables[table + 1, OTHERS] + row * tables[table + 1, WIDTH_OTHERS]
                blank(numbers, others, tables, table + 1, number_at, other_at)
            pc = loop
        pc += 1


@kernel
def blank(
    numbers: NDArray[np.float64],
    others: IntArray,
    tables: IntArray,
    table: int,
    number_at: int,
    other_at: int,
) -> None:
    """Fill a row with what stands for missing."""
    for column in range(tables[table, WIDTH_NUMBERS]):
        numbers[number_at + column] = np.nan
    for column in range(tables[table, WIDTH_OTHERS]):
        others[other_at + column] = ABSENT


@kernel
def run_segments(
    code: IntArray,
    segments: IntArray,
    first: Integer,
    given_up: NDArray[np.bool_],
    numbers: NDArray[np.float64],
    others: IntArray,
    tables: IntArray,
    packet_message: IntArray,
    packet_rows: IntArray,
    counts: IntArray,
    pool: NDArray[np.uint8],
    bounds: IntArray,
) -> Integer:
    """Read the records of messages; return the first segment that found no room, or their number.

    Parameters
    ----------
    code
        The program.
    segments
        Address and size of the bytes, where to begin, the number of records or `UNTIL_SYNC`, and the message;
        those of one message stand together. Shape (S, 5).
    first
        The segment to begin with, the first of its message.
    given_up
        By message: True where it is left to a full reader.
    numbers, others
        The matrices of all tables, flat.
    tables
        Of the heads, then of each table of rows: where it begins in both, its columns in both, its room in
        rows and how many are used.
    packet_message, packet_rows
        The message of each packet, and the rows used of each table behind it.
    counts
        Packets, texts, bytes of texts and repeated texts so far.
    pool, bounds
        All texts, and where each begins and ends.
    """
    left = np.zeros(DEPTH_MAX, np.int64)
    repeated = np.zeros(REPEATED_MAX, np.int64)
    bits32, bits64 = np.zeros(1, np.uint32), np.zeros(1, np.uint64)
    float32, float64 = bits32.view(np.float32), bits64.view(np.float64)
    first_row = np.zeros(len(tables), np.int64)
    before = np.zeros(4, np.int64)
    counts[REPEATED] = 0  # another program may have run before
    current, began = -1, first
    segment = first
    # Whole arrays are not assigned at once: to compile what is said of shapes that differ takes seconds.
    while segment < len(segments):
        message = segments[segment, 4]
        if message != current:
            current, began = message, segment
            for table in range(len(tables)):
                first_row[table] = tables[table, USED]
            for count in range(len(counts)):
                before[count] = counts[count]
        data = bytes_at(segments[segment, 0], segments[segment, 1])
        pos, end, records = segments[segment, 2], segments[segment, 1], segments[segment, 3]
        sync = pos
        stop = end
        outcome = 0
        if records == UNTIL_SYNC:
            pos += SYNC_BYTES
            if pos > end:
                outcome = GIVEN_UP
            records = 0
            stop = pos
        while outcome == 0:
            if records == 0:
                if pos != stop:
                    outcome = GIVEN_UP
                    break
                if segments[segment, 3] != UNTIL_SYNC:
                    break
                if stop > sync + SYNC_BYTES:  # behind a block its marker has to come
                    if end - pos < SYNC_BYTES:
                        outcome = GIVEN_UP
                        break
                    for at in range(SYNC_BYTES):
                        if data[pos + at] != data[sync + at]:
                            outcome = GIVEN_UP
                    pos += SYNC_BYTES
                    if outcome != 0:
                        break
                if pos == end:
                    break
                records, pos = varint(data, pos, end)
                if pos < 0 or records <= 0:
                    outcome = GIVEN_UP
                    break
                size, pos = varint(data, pos, end)
                if pos < 0 or size <= 0 or size > end - pos:
                    outcome = GIVEN_UP
                    break
                stop = pos + size
            head = counts[PACKETS]
            if head >= tables[0, ROOM]:
                outcome = NO_ROOM
                break
            blank(
                numbers,
                others,
                tables,
                0,
                tables[0, NUMBERS] + head * tables[0, WIDTH_NUMBERS],
                tables[0, OTHERS] + head * tables[0, WIDTH_OTHERS],
            )
            pos = read_record(
                code, data, pos, stop, numbers, others, tables, first_row, counts, pool, bounds, repeated,
                left, bits32, float32, bits64, float64,
            )  # fmt: skip
            if pos < 0:
                outcome = pos
                break
            packet_message[head] = message
            for table in range(1, len(tables)):
                packet_rows[head, table - 1] = tables[table, USED]
            counts[PACKETS] = head + 1
            records -= 1
        if outcome != 0:
            for table in range(len(tables)):
                tables[table, USED] = first_row[table]
            for count in range(len(counts)):
                counts[count] = before[count]
            if outcome == NO_ROOM:
                return began
            given_up[message] = True
            while segment < len(segments) and segments[segment, 4] == message:
                segment += 1
        else:
            segment += 1
    return segment
