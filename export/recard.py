# SPDX-License-Identifier: BSD-3-Clause
"""A finished bundle with its model card written anew, as this version of the software words it.

Everything that a card says is in the manifest, so that no run has to be at hand. Graphs, arrays and
measures stay what they are.
"""

from __future__ import annotations

from pathlib import Path

from broker_plugin.bundle import Bundle, Manifest
from export.card import CARD, model_card
from export.placing import put_bundle
from export.stream import next_version
from export.stream_card import with_stream_section
from export.writer import digests_of

__all__ = ["card_of", "write_recarded_bundle"]


def write_recarded_bundle(base: Bundle, out: Path, *, version: str | None = None) -> Path:
    """Write the new version at `out`, in the place of an older one.

    Raises
    ------
    ConfigurationError
        If the bundle was trained by a version whose settings are not known. Nothing is written then.
    """
    manifest = base.manifest.model_copy(update={"version": version or next_version(base.manifest.version)})
    files = {name: base.contents[name] for name in manifest.files} | {CARD: card_of(manifest).encode()}
    return put_bundle(files, manifest.model_copy(update={"files": digests_of(files)}), out)


def card_of(manifest: Manifest) -> str:
    """Return the card of a finished bundle, with the sections of the streams that it was fitted to."""
    card = model_card(manifest)
    return with_stream_section(card, manifest.stream["fits"]) if manifest.stream else card
