# SPDX-License-Identifier: BSD-3-Clause
"""The log: events with keys on standard error, as JSON lines for machines or in colour for a terminal.

The libraries' own log lines take the same road. Nothing here prints the variables of a traceback: an alert
that is not public could be among them.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import Processor

__all__ = ["configure_logging", "keep_addresses_out_of_logs", "log_as_a_library", "quieten"]


def configure_logging(log_format: Literal["auto", "json", "console"] = "auto", level: str = "info") -> None:
    """Send all log lines to standard error.

    Parameters
    ----------
    log_format
        `auto` is `json` unless standard error is a terminal.
    level
        Least severe events that are written: `debug`, `info`, `warning` or `error`.
    """
    if log_format == "auto":
        log_format = "console" if sys.stderr.isatty() else "json"
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(log_format),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    keep_addresses_out_of_logs()


def log_as_a_library() -> None:
    """Send events to Python's own logging, unless the program has said where they go."""
    if not structlog.is_configured():
        structlog.configure(
            processors=[
                structlog.stdlib.filter_by_level,
                structlog.processors.KeyValueRenderer(key_order=["event"]),
            ],
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
            cache_logger_on_first_use=False,
        )


def quieten() -> None:
    """Leave the terminal to what a command prints; what goes wrong ends in its findings or an error."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.getLogger("librdkafka").addHandler(logging.NullHandler())


def keep_addresses_out_of_logs() -> None:
    """Silence the libraries that log the addresses they call, with the secrets that are in them."""
    for chatty in ("httpx", "httpcore", "httpx2", "httpcore2", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _rendering(log_format: str) -> list[Processor]:
    if log_format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
