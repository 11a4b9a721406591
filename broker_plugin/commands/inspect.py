# SPDX-License-Identifier: BSD-3-Clause
"""`broker-plugin inspect`: what is in a packet, or in a bundle."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter, validators
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from broker_plugin.bundle import MANIFEST, Bundle, installed_bundles, open_bundle
from broker_plugin.codec.registry import SchemaRegistry
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.errors import ConfigurationError, RejectedAlert
from broker_plugin.pipeline.alert_files import read_alerts
from broker_plugin.records import Access, Alert, Origin
from broker_plugin.service.bundle_choice import chosen_bundle
from broker_plugin.taxonomy import PASSBANDS
from broker_plugin.times import utc_iso

__all__ = ["inspect"]

EXIT_REJECTED = 1
"""Something that was shown cannot become an alert."""

EVERY_ACCESS = frozenset(Access)
"""Whoever holds the file may see all of it; nothing here is sent anywhere."""


def inspect(
    path: str,
    *,
    limit: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 10,
    schemas: Path | None = None,
    input_registry: str = "",
    bundles: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Show what is in files of alert packets, or in a model bundle.

    Reads what `replay` reads. The exit status is 1 if something that is shown cannot become an alert.

    Parameters
    ----------
    path
        A file (Avro container, Confluent-framed message, tar archive, Parquet), a directory of such files, a
        bundle's directory, its name, or NAME@VERSION in the repository.
    limit
        Most packets to show; a line on standard error says if there are more.
    schemas
        Directory of alert schemas, for framed messages.
    input_registry
        URL of the schema registry of the alerts, for framed messages.
    bundles
        Repository of bundles, a directory; by default ASTROM3_BUNDLES.
    as_json
        Print JSON instead of tables: one object a line for packets, one object for a bundle.
    """
    console = Console()
    found = path if Path(path).exists() else chosen_bundle(path, bundles)
    if found in installed_bundles() or (Path(found) / MANIFEST).is_file():
        bundle = bundle_summary(open_bundle(found))
        _print_json(bundle) if as_json else _show_bundle(console, bundle)
        return 0
    if not Path(path).exists():
        names = ", ".join(installed_bundles()) or "none"
        raise ConfigurationError(f"{path} is neither a file nor a bundle; installed bundles: {names}")
    registry = SchemaRegistry(input_registry) if input_registry else None
    store = SchemaStore(registry, [schemas] if schemas is not None else [])
    n_rejected = 0
    with closing(read_alerts(path, schemas=store, access=EVERY_ACCESS).outcomes()) as outcomes:
        for outcome in islice(outcomes, limit):
            n_rejected += isinstance(outcome, RejectedAlert)
            summary = _reason(outcome) if isinstance(outcome, RejectedAlert) else alert_summary(outcome)
            _print_json(summary) if as_json else _show_alert(console, summary)
        if next(outcomes, None) is not None:
            sys.stderr.write(f"broker-plugin: there are more than the {limit} shown; give --limit N\n")
    return EXIT_REJECTED if n_rejected else 0


def alert_summary(alert: Alert) -> dict[str, Any]:
    """Return what an alert says, in a form that JSON can hold."""
    curve = alert.light_curve
    epochs = []
    for band, origin in sorted(set(zip(curve.band.tolist(), curve.origin.tolist(), strict=True))):
        rows = (curve.band == band) & (curve.origin == origin)
        epochs.append(
            {
                "band": PASSBANDS[band][0],
                "origin": Origin(origin).name.lower(),
                "n": int(rows.sum()),
                "flux": "apparent" if curve.apparent[rows].any() else "difference",
                "first_mjd_tai": float(curve.mjd_tai[rows].min()),
                "last_mjd_tai": float(curve.mjd_tai[rows].max()),
                "median_flux_njy": float(np.median(curve.flux_njy[rows])),
            }
        )
    return {
        "schema": alert.provenance.schema,
        "survey": alert.survey,
        "alert_key": alert.alert_key,
        "object_id": alert.object_id,
        "ra_deg": alert.ra_deg,
        "dec_deg": alert.dec_deg,
        "mjd_tai": alert.mjd_tai,
        "observed_utc": utc_iso(np.array([alert.mjd_tai]))[0],
        "source_context": str(alert.source_context),
        "flags": [str(flag) for flag in alert.flags],
        "access": sorted(Access(code).name.lower() for code in set(curve.access.tolist())),
        "metadata": alert.metadata,
        "epochs": epochs,
    }


def bundle_summary(bundle: Bundle) -> dict[str, Any]:
    """Return what a bundle's manifest says, in a form that JSON can hold."""
    manifest = bundle.manifest
    return {
        "name": manifest.name,
        "version": manifest.version,
        "description": manifest.description,
        "digest": bundle.digest,
        "format_version": manifest.format_version,
        "feature_spec_version": manifest.feature_spec_version,
        "precision": manifest.precision,
        "embedding_dim": manifest.embedding_dim,
        "modalities": [model.name for model in manifest.modalities],
        "taxonomy": manifest.taxonomy,
        "classes": dict(zip(manifest.classes, manifest.class_frequencies, strict=False)),
        "class_prior": manifest.class_prior,
        "decision_rule": manifest.decision_rule,
        "stream_strata": {stratum.name: stratum.n for stratum in manifest.stream_strata},
        "strata": {
            stratum.name: {"n": stratum.n, "temperature": stratum.temperature} for stratum in manifest.strata
        },
        "training": manifest.training,
        "parity": manifest.parity,
        "files": {name: len(content) for name, content in bundle.contents.items()},
    }


def _reason(rejection: RejectedAlert) -> dict[str, Any]:
    return {"rejected": str(rejection.reason), "detail": rejection.detail}


def _print_json(summary: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(summary, allow_nan=False) + "\n")


def _show_alert(console: Console, summary: Mapping[str, Any]) -> None:
    if "rejected" in summary:
        detail = escape(summary["detail"])
        console.print(f"[bold red]rejected[/] {summary['rejected']}: {detail}", highlight=False)
        return
    console.print(
        f"[bold]{escape(summary['object_id'])}[/]  {escape(summary['alert_key'])}  "
        f"[cyan]{summary['source_context']}[/]  {escape(summary['schema']) or 'schema unnamed'}",
        highlight=False,
    )
    console.print(
        f"  ra {summary['ra_deg']:.5f}  dec {summary['dec_deg']:+.5f}  "
        f"{summary['observed_utc']} (MJD {summary['mjd_tai']:.5f} TAI)",
        highlight=False,
    )
    table = Table("band", "origin", "epochs", "flux", "first MJD", "last MJD", "median nJy", box=None)
    for column in table.columns[2:]:
        column.justify = "right"
    for row in summary["epochs"]:
        table.add_row(
            row["band"],
            row["origin"],
            str(row["n"]),
            row["flux"],
            f"{row['first_mjd_tai']:.4f}",
            f"{row['last_mjd_tai']:.4f}",
            f"{row['median_flux_njy']:.5g}",
        )
    console.print(table)
    values = "  ".join(f"{name} {value:.5g}" for name, value in summary["metadata"].items())
    console.print(f"  {values}", highlight=False)
    if summary["flags"]:
        console.print(f"  [yellow]{', '.join(summary['flags'])}[/]", highlight=False)
    console.print()


def _show_bundle(console: Console, summary: Mapping[str, Any]) -> None:
    name, description = escape(summary["name"]), escape(summary["description"])
    console.print(f"[bold]{name}[/] {escape(summary['version'])}: {description}", highlight=False)
    console.print(f"  digest {summary['digest']}", highlight=False)
    table = Table(box=None, show_header=False)
    for key in (
        "format_version",
        "feature_spec_version",
        "precision",
        "embedding_dim",
        "class_prior",
        "decision_rule",
    ):
        table.add_row(key, escape(str(summary[key])))
    classes = ", ".join(f"{key} {share:.1%}" for key, share in summary["classes"].items())
    files = ", ".join(f"{key} ({size:,} B)" for key, size in summary["files"].items())
    table.add_row("modalities", escape(", ".join(summary["modalities"])))
    table.add_row("taxonomy", escape(summary["taxonomy"]))
    table.add_row("classes", escape(classes))
    table.add_row("files", escape(files))
    console.print(table)
    strata = Table("stratum", "calibration objects", "temperature", box=None)
    for key, stratum in summary["strata"].items():
        strata.add_row(escape(key), str(stratum["n"]), f"{stratum['temperature']:.3f}")
    for key, n in summary["stream_strata"].items():
        strata.add_row(escape(key), str(n), "")
    console.print(strata)
