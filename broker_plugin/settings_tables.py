# SPDX-License-Identifier: BSD-3-Clause
"""The tables of the settings: Kafka's own properties, the limits of a message, and routes of candidates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from broker_plugin.codec.limits import DEFAULT_LIMITS, Limits

__all__ = [
    "FROM_FILE",
    "Brightening",
    "ContextName",
    "KafkaTables",
    "LimitsTable",
    "NumbersAreNoSwitches",
    "Properties",
    "RouteTable",
    "Share",
    "refuse_switch",
]

NATIVE_FILES = frozenset(
    f"sasl.oauthbearer.assertion.{part}file" for part in ("", "private.key.", "jwt.template.")
)
"""librdkafka's own properties that name a file; every other `..._file` is ours."""

FROM_FILE = "_file"
"""Ends the name of a property or setting whose value is in a file."""

ContextName = Literal["stellar", "galaxy_host", "solar_system", "artefact", "unknown", "any"]
"""Source contexts by name, and what stands for every one."""

Share = Annotated[float, Field(ge=0, le=1)]
"""A probability or a p-value."""

Brightening = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""By how many magnitudes something is brighter."""


def _property(name: str) -> str:
    # A variable's name cannot hold a dot; of librdkafka's properties only `log_level` has an underscore.
    lower = name.lower()
    if lower.endswith(FROM_FILE) and lower.replace("_", ".") not in NATIVE_FILES:
        return _property(lower.removesuffix(FROM_FILE)) + FROM_FILE
    return lower if "." in lower or lower == "log_level" else lower.replace("_", ".")


def _properties(table: Any) -> Any:
    if not isinstance(table, Mapping):
        return table
    flat: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, Mapping):  # an unquoted dotted key: `sasl.password = "..."`
            flat |= {f"{name}.{inner}": given for inner, given in _properties(value).items()}
        elif isinstance(value, bool):
            flat[_property(name)] = str(value).lower()
        else:
            flat[_property(name)] = value if isinstance(value, SecretStr) else str(value)
    return flat


Properties = Annotated[dict[str, SecretStr], BeforeValidator(_properties)]
"""librdkafka properties by name. All values are kept secret, since passwords and keys are among them."""


class KafkaTables(BaseModel):
    """The tables `[kafka.source]` and `[kafka.sink]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Properties = Field(
        default={}, title="Source properties", description="Further librdkafka properties of the consumer."
    )
    sink: Properties = Field(
        default={}, title="Sink properties", description="Further librdkafka properties of the producer."
    )


def refuse_switch(value: Any) -> Any:
    """Return what is to be a number, unless it is `true` or `false`, which pydantic takes for 1 and 0."""
    if isinstance(value, bool):
        raise PydanticCustomError("switch", "Input should not be true or false")
    return value


class NumbersAreNoSwitches(BaseModel):
    """Settings of which `true` is none of the numbers; pydantic takes it for 1."""

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_switch(cls, value: Any, info: ValidationInfo) -> Any:
        is_switch = cls.model_fields[str(info.field_name)].annotation is bool
        return value if is_switch else refuse_switch(value)


class LimitsTable(NumbersAreNoSwitches):
    """The table `[limits]`: what one message may be. What is more becomes a dead letter (`too_large`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    message_bytes: int = Field(
        default=DEFAULT_LIMITS.message_bytes, ge=1000, description="Most bytes, also after decompression."
    )
    message_values: int = Field(
        default=DEFAULT_LIMITS.message_values,
        ge=1000,
        description="Most values in its packets, of 200 bytes each.",
    )
    message_alerts: int = Field(default=DEFAULT_LIMITS.message_alerts, ge=1, description="Most alerts in it.")
    epochs: int = Field(
        default=DEFAULT_LIMITS.epochs, ge=1, description="Most rows in the histories of an alert."
    )

    def values(self) -> Limits:
        """Return the limits as the decoder takes them."""
        return Limits(**self.model_dump())


class RouteTable(NumbersAreNoSwitches):
    """A table `[[routes]]`: verdicts that all its conditions choose become candidates on its topic."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    topic: str = Field(min_length=1, title="Candidate topic", description="Topic of the candidates.")
    name: str = Field(
        default="", title="Name", description="What a candidate says of its route; by default the topic."
    )
    classes: tuple[str, ...] = Field(
        default=(),
        title="Classes",
        description="Only these classes: names, a catalogue's spellings, or kinds such as pulsating.",
    )
    min_probability: Share | None = Field(
        default=None,
        title="Least probability",
        description="Of one of those classes, or of the top class where none is named.",
    )
    max_p_value: Share | None = Field(
        default=None, title="Largest p-value", description="Largest anomaly p-value."
    )
    min_brightening_mag: Brightening | None = Field(
        default=None,
        title="Least brightening",
        description="Magnitudes by which the detection is brighter than what the reference image has there.",
    )
    context: ContextName = Field(
        default="any", title="Source context", description="Only what the packet says is of this kind."
    )
