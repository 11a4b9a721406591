# SPDX-License-Identifier: BSD-3-Clause
"""Where `dlq` finds dead letters: on their topic, or in a file that `replay` wrote."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from broker_plugin.errors import ConfigurationError
from broker_plugin.instants import milliseconds, parse_moment
from broker_plugin.pipeline.dead_letter_reader import DeadLetter, Place, read_file, read_letter, read_receipt
from broker_plugin.service.addresses import sink_address
from broker_plugin.service.settings_sources import load_settings
from broker_plugin.settings import Settings
from broker_plugin.streams.kafka import KafkaSnapshot

__all__ = ["LetterTopic", "letter_in_file", "letters_in_file", "parse_place", "since_ms"]


class LetterTopic:
    """The topic of dead letters and how to be let in.

    Parameters
    ----------
    bootstrap, topic
        What was given instead of what the settings say.
    config
        The file of settings.
    """

    def __init__(self, bootstrap: str | None, topic: str | None, config: Path | None) -> None:
        self.settings: Settings = load_settings({}, config=config)
        given = sink_address(self.settings)
        self.address = replace(given, bootstrap=bootstrap or given.bootstrap)
        self.name = topic or self.settings.dead_letters

    def snapshot(self) -> KafkaSnapshot:
        """Return the topic as it is now.

        Raises
        ------
        ConfigurationError
            If no topic or no cluster was named.
        """
        if not self.name:
            raise ConfigurationError(
                "no topic of dead letters; give --topic or ASTROM3_DEAD_LETTERS, or a file"
            )
        if not self.address.bootstrap:
            raise ConfigurationError(
                "no cluster to read from; give --bootstrap or ASTROM3_BOOTSTRAP, or a file"
            )
        return KafkaSnapshot(self.address.credentials_only(), self.name)

    def letters(self, since: str | None) -> tuple[list[DeadLetter], frozenset[Place]]:
        """Return all letters without their bytes, and the places of those that were replayed."""
        letters: list[DeadLetter] = []
        replayed: set[Place] = set()
        with self.snapshot() as snapshot:
            for message in snapshot.messages(snapshot.span(since_ms=since_ms(since))):
                letter = read_letter(message)
                if letter is None:
                    replayed |= read_receipt(message)
                else:
                    letters.append(_without_bytes(letter))
        return letters, frozenset(replayed)

    def letter(self, partition: int, offset: int) -> DeadLetter | None:
        """Return the letter at a place, or None if there is none."""
        with self.snapshot() as snapshot:
            message = snapshot.message(partition, offset)
        return None if message is None else read_letter(message)


def letters_in_file(path: Path, since: str | None) -> list[DeadLetter]:
    """Return all letters of a file without their bytes."""
    if since is not None:
        raise ConfigurationError(f"letters in a file carry no time; leave out --since for {path}")
    return [_without_bytes(letter) for letter in read_file(path)]


def letter_in_file(path: Path, line: int) -> DeadLetter | None:
    """Return the letter on a line of a file, or None if it has fewer."""
    return next((letter for letter in read_file(path) if letter.place[1] == line), None)


def parse_place(text: str) -> Place:
    """Return partition and offset of `3:1234`, or 0 and the number of a line.

    Examples
    --------
    >>> parse_place("3:1234"), parse_place("17")
    ((3, 1234), (0, 17))
    """
    partition, _, offset = text.rpartition(":")
    if not offset.isdecimal() or not (partition or "0").isdecimal():
        raise ConfigurationError(
            f"{text!r} is no place; write PARTITION:OFFSET, in a file the number of a line"
        )
    return int(partition or 0), int(offset)


def since_ms(since: str | None) -> int | None:
    """Return a moment that was typed in milliseconds since 1970."""
    return None if since is None else milliseconds(parse_moment(since))


def _without_bytes(letter: DeadLetter) -> DeadLetter:
    # A night of dead letters need not fit into memory to be counted.
    return replace(letter, value=b"", key=None, headers=())
