# SPDX-License-Identifier: BSD-3-Clause
"""The settings of the service: one TOML file < environment < flags, built once and passed down.

A setting has one name in three spellings: `dead_letters = "..."` in the file, `ASTROM3_DEAD_LETTERS` in the
environment, `--dead-letters` as a flag. Further librdkafka properties (SASL, TLS, tuning) go into the tables
`[kafka.source]` and `[kafka.sink]`, in the environment `ASTROM3_KAFKA__SOURCE__SASL_PASSWORD` and the like.
Whatever is secret can be in a file instead: with `_file` behind the name (`sasl.password_file`,
`ASTROM3_REGISTRY_FILE`) its value is read from there.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from broker_plugin.codec.verdict import Tense
from broker_plugin.decision import DecisionRule
from broker_plugin.errors import ConfigurationError
from broker_plugin.prior import BUNDLE, prior_text
from broker_plugin.settings_tables import KafkaTables, LimitsTable, NumbersAreNoSwitches, RouteTable
from broker_plugin.streams.kafka_admission import PATIENCE_S

__all__ = ["PREFIX", "Settings", "flag"]

PREFIX = "ASTROM3_"
"""What our environment variables begin with."""


def _moment(value: Any) -> Any:
    """Return the text of a moment that TOML has without quotation marks."""
    return value.isoformat() if isinstance(value, date) else value


class Settings(NumbersAreNoSwitches, BaseSettings):
    """Everything that an operator can set. Make it with `service.settings_sources.load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    survey: Literal["ztf", "lsst"] | None = Field(
        default=None, title="Survey", description="Survey whose alerts are on the input topic."
    )
    bootstrap: str = Field(
        default="", title="Input cluster", description="host:port of the Kafka cluster that is read."
    )
    input: str = Field(
        default="",
        title="Input topic",
        description="Topic of alerts; several with commas between; a regular expression begins with ^.",
    )
    output: str = Field(default="", title="Output topic", description="Topic that the verdicts go to.")
    dead_letters: str = Field(
        default="",
        title="Dead-letter topic",
        description="Topic of messages that cannot become verdicts. Let the operator alone read it: bytes "
        "that nobody could decode may hold anything.",
    )
    ledger: str = Field(
        default="",
        title="Ledger topic",
        description="Compacted topic that says for each survey night and partition what was done; audit "
        "compares it with the input. None is written without it.",
    )
    embeddings: str = Field(
        default="",
        title="Embedding topic",
        description="Topic of the embeddings, 1 kB an alert in float16; none are written without it.",
    )
    embeddings_format: Literal["float16", "float32"] = Field(
        default="float16", title="Embedding format", description="Number format of the embeddings."
    )
    routes: tuple[RouteTable, ...] = Field(
        default=(),
        title="Routes",
        description="Which verdicts become candidates, and on which topic: tables [[routes]] of the file.",
    )
    group: str = Field(
        default="", title="Consumer group", description="Name under which offsets are remembered."
    )
    delivery: Literal["at-least-once", "exactly-once"] = Field(
        default="at-least-once",
        title="Delivery",
        description="exactly-once uses Kafka transactions; input and output must be one cluster.",
    )
    bundle: str = Field(
        default="default",
        title="Bundle",
        description="NAME of a model bundle, in the repository of --bundles or installed; NAME@VERSION in "
        "the repository; or a directory.",
    )
    bundles: Path | None = Field(
        default=None,
        title="Bundle repository",
        description="Directory of bundles in named versions (`broker-plugin bundles`). A NAME is followed: "
        "what is promoted takes its place without a restart.",
    )
    shadow: str = Field(
        default="",
        title="Shadow bundle",
        description="A second bundle, named as for --bundle, that scores the same alerts to --shadow-topic "
        "in a process of its own. It never holds up the stream: what it cannot take is dropped and counted.",
    )
    shadow_topic: str = Field(
        default="",
        title="Shadow topic",
        description="Topic that the shadow's verdicts go to, with the tense test.",
    )
    device: Literal["auto", "cpu", "cuda", "openvino"] = Field(
        default="auto", title="Device", description="Where the encoders run; only auto may choose."
    )
    class_prior: Annotated[str, BeforeValidator(prior_text)] = Field(
        default=BUNDLE,
        title="Class prior",
        description="Class frequencies that the probabilities assume: bundle (those of its training "
        "catalogue), uniform, or NAME:CLASS=FREQUENCY,... for every class; in the file also a table.",
    )
    decision_rule: DecisionRule = Field(
        default=BUNDLE,
        title="Decision rule",
        description="What names top_class: argmax, the most probable class; tempered, which names rare "
        "classes oftener (probability over the root of the class's frequency); or the bundle's own rule, "
        "which with another class prior is argmax.",
    )
    metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65_535,
        title="Metrics port",
        description="Port of /metrics, /healthz, /startedz and /readyz; none are served without it.",
    )
    metrics_host: str = Field(
        default="127.0.0.1",
        title="Metrics address",
        description="Address to listen on; 0.0.0.0 to be reached from other machines.",
    )
    ready_patience_s: float = Field(
        default=30.0,
        gt=0,
        title="Patience of /readyz",
        description="A stage that fails for longer than this, such as the output, makes /readyz say no, s.",
    )
    output_bootstrap: str = Field(
        default="",
        title="Output cluster",
        description="host:port of the Kafka cluster that is written; by default the one that is read.",
    )
    registry: str = Field(
        default="",
        title="Output registry",
        description="URL of the schema registry for verdicts. Without it each message is an Avro container "
        "file of one record.",
    )
    input_registry: str = Field(
        default="", title="Input registry", description="URL of the schema registry of the alerts."
    )
    schemas: Path | None = Field(
        default=None, title="Schemas", description="Directory of alert schemas for use without a registry."
    )
    store: str = Field(
        default="none",
        title="Object store",
        description="Where the histories of objects are kept beyond their packets: none, memory, sqlite, "
        "sqlite:PATH, or the URL of a Redis or Valkey server (with a password better as ASTROM3_STORE).",
    )
    store_timeout_s: float = Field(
        default=0.5,
        gt=0,
        title="Store timeout",
        description="Longest wait for the store, s; then alerts go on from the packet alone, flagged.",
    )
    store_max_bytes: int = Field(
        default=10_000_000_000,
        ge=1_000_000,
        title="Store size",
        description="Most bytes that memory or sqlite may use; what was not written for longest goes first. "
        "A Redis server has its own maxmemory.",
    )
    history_epochs_max: int = Field(
        default=3_000,
        ge=1,
        le=10_000,
        title="Longest history",
        description="Most epochs that are used of an object, the latest ones.",
    )
    history_days: float = Field(
        default=730.0,
        gt=0,
        title="Retention",
        description="Epochs from this much before an alert are not used, and objects that bring nothing for "
        "this long are forgotten, days.",
    )
    context_radius_arcsec: float = Field(
        default=1.5,
        gt=0,
        le=60,
        title="Context radius",
        description="Catalogue rows in the store that are nearer than this to an alert are taken for its "
        "object's, arcsec.",
    )
    similar_hours: float = Field(
        default=0.0,
        ge=0,
        le=168,
        title="Recent embeddings",
        description="How long the strangest alerts are kept for `broker-plugin similar`, hours; 0 for not "
        "at all.",
    )
    instance: str = Field(
        default="",
        title="Instance",
        description="Name of this process within the group, kept over restarts; by default the host's name "
        "and the lowest free slot.",
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=256,
        title="Workers",
        description="Processes that share the partitions, one for each core; who dies is started again. "
        "On CUDA they are dealt out to the GPUs, those of CUDA_VISIBLE_DEVICES if it is set. With "
        "--metrics-port N they serve on N, N + 1 ...; --instance NAME becomes NAME-0, NAME-1 ...",
    )
    group_protocol: Literal["classic", "consumer"] = Field(
        default="classic",
        title="Group protocol",
        description="consumer is KIP-848, for Kafka 4 and later: a process that stops hands over at once. "
        "With classic its partitions wait for its restart until its session runs out (45 s).",
    )
    offset_reset: Literal["earliest", "latest", "stop"] = Field(
        default="earliest",
        title="Offset reset",
        description="Where a group begins that has no offsets: it is new, or was idle for so long that Kafka "
        "has forgotten them (a week by default); stop refuses to start it.",
    )
    on_lost_offsets: Literal["stop", "earliest", "latest"] = Field(
        default="stop",
        title="Lost offsets",
        description="What is done when messages were deleted before the group has read them, or its offset "
        "lies behind the topic's end: stop says how many are lost; earliest and latest go on there.",
    )
    start_at: Annotated[str, BeforeValidator(_moment)] = Field(
        default="",
        title="Start at",
        description="Where a group without offsets begins instead: with the messages since a moment, such as "
        "2026-11-24T03:00:00Z, or how long ago: 12h, 3d.",
    )
    force_start: bool = Field(
        default=False,
        title="Force the start",
        description="Let start_at move a group that has offsets too; all its processes must be stopped. Not "
        "for a supervisor, which would move it again with each restart.",
    )
    tense: Tense = Field(
        default=Tense.CURRENT,
        title="Tense",
        description="What the verdicts say of their time; only current may trigger a telescope.",
    )
    access: str = Field(
        default="public",
        title="Access of the output",
        description="Access classes that readers of the output may see, with commas between: public, "
        "partnership, caltech, private.",
    )
    dead_letters_access: str = Field(
        default="public,undecodable",
        title="Access of the dead letters",
        description="The same for the dead-letter topic; undecodable is the right to hold bytes that nobody "
        "could decode.",
    )
    dead_letters_max_bytes: int = Field(
        default=1_000_000,
        ge=10_000,
        title="Largest dead letter",
        description="A dead letter that would be larger on the wire keeps 4 KiB of the original, and not its "
        "key and headers if those are too much.",
    )
    reject_share_max: float = Field(
        default=0.01,
        gt=0,
        le=1,
        title="Largest share of one rejection",
        description="When one reason of rejection has a larger share of the last reject_window messages, the "
        "stream pauses instead of dead-lettering a night: nothing is committed and /readyz says why.",
    )
    reject_window: int = Field(
        default=10_000,
        ge=1,
        title="Window of rejections",
        description="Messages over which rejections are counted; those before the start count as good.",
    )
    accept_rejects: str = Field(
        default="",
        title="Accepted rejections",
        description="Reasons that never pause the stream, with commas between: empty, undecodable, "
        "unknown_schema, too_large, missing_field, invalid_value, access. With missing_field it does not "
        "pause for a schema without a required field either.",
    )
    batch_max: int = Field(
        default=256, ge=1, title="Batch size", description="Most messages that are scored together."
    )
    batch_max_bytes: int = Field(
        default=64_000_000,
        ge=1,
        title="Batch bytes",
        description="A batch is closed when it holds this much: large messages cannot fill the memory.",
    )
    batch_age_s: float = Field(
        default=0.05, ge=0, title="Batch age", description="Longest wait of a message for its batch, s."
    )
    ack_timeout_s: float = Field(
        default=10.0, gt=0, title="Acknowledgement", description="Longest wait for the output's brokers, s."
    )
    stop_deadline_s: float = Field(
        default=15.0, ge=0, title="Stop deadline", description="Time to finish a batch after SIGTERM, s."
    )
    refusal_deadline_s: float = Field(
        default=PATIENCE_S,
        ge=0,
        title="Refusal deadline",
        description="Longest time that a cluster may refuse in mid-stream what it took before; "
        "then the process stops, s.",
    )
    start_deadline_s: float = Field(
        default=60.0,
        ge=0,
        title="Start deadline",
        description="Longest wait for brokers and topics at start, s.",
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", title="Log format", description="auto is json unless standard error is a terminal."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", title="Log level", description="Least severe events that are logged."
    )
    kafka: KafkaTables = Field(
        default=KafkaTables(), title="Kafka", description="Further librdkafka properties, in two tables."
    )

    limits: LimitsTable = Field(
        default=LimitsTable(), title="Limits", description="What one message may be, in a table."
    )

    @property
    def topics(self) -> tuple[str, ...]:
        """The input topics, or patterns of topics, each once."""
        if self.input.startswith("^"):
            return (self.input,)  # a comma may be part of a regular expression
        return tuple(dict.fromkeys(name.strip() for name in self.input.split(",") if name.strip()))

    @property
    def sink_bootstrap(self) -> str:
        """The cluster that is written."""
        return self.output_bootstrap or self.bootstrap

    def require(self, *names: str) -> None:
        """Refuse to go on without these settings, naming all that are missing at once."""
        missing = [name for name in names if not getattr(self, name)]
        if missing:
            spelt = "\n".join(f"  {flag(name):16} or {PREFIX}{name.upper()}" for name in missing)
            raise ConfigurationError(
                f"these settings are missing:\n{spelt}\nor set them in the file of --config"
            )


def flag(name: str) -> str:
    """Return how a setting is spelt on the command line.

    Examples
    --------
    >>> flag("dead_letters")
    '--dead-letters'
    """
    return f"--{name.replace('_', '-')}"
