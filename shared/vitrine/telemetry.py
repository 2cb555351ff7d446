"""Logging and HTTP metrics of all services. A log record is one JSON object per line, with its request and job.
Pictures, keys and broker addresses are never logged.
"""

from __future__ import annotations

import logging
import re
import sys
import uuid
from io import StringIO
from typing import Any, Final, Literal, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from vitrine.terminal import printable

REQUEST_ID_HEADER: Final = "x-request-id"
_NOISY: Final = (
    "celery.app.trace",
    "celery.worker.strategy",
    "hpack",
    "httpcore",
    "httpcore2",
    "httpx",
    "httpx2",
    "uvicorn.access",
)
_MAX_VALUE_CHARS: Final = 2_000
_MAX_TRACEBACK_CHARS: Final = 20_000
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{7,63}")
LATENCY_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


def configure_logging(
    service: str, *, level: str = "info", log_format: Literal["json", "console"] = "json"
) -> structlog.stdlib.BoundLogger:
    """Write the records of structlog and of the standard library to standard error, in the same format."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _service_adder(service),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    final: list[structlog.types.Processor] = (
        [structlog.processors.format_exc_info, bound_values, structlog.processors.JSONRenderer()]
        if log_format == "json"
        # The default formatter, if rich is installed, prints the local variables of every frame, including keys.
        else [
            bound_values,
            _printable_values,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=_printable_traceback),
        ]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Vitrine logs one line per request or step; these libraries would add more.
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    return get_logger(service)


def bound_values(_logger: Any, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """Truncate long values, which come from callers and catalogues."""
    for name, value in event.items():
        if name == "exc_info" or value is None or isinstance(value, bool | int | float):
            continue
        most = _MAX_TRACEBACK_CHARS if name == "exception" else _MAX_VALUE_CHARS
        shown = value if isinstance(value, str) else str(value)
        if len(shown) > most:
            # The end of a traceback is the important part.
            kept = shown[-most:] if name == "exception" else shown[:most]
            event[name] = f"{kept} [{len(shown)} characters]"
    return event


def _printable_values(_logger: Any, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    for name, value in event.items():
        if name != "exc_info" and not (value is None or isinstance(value, bool | int | float)):
            event[name] = printable(str(value), lines=name in ("exception", "stack"))
    return event


def _printable_traceback(stream: TextIO, exc_info: structlog.types.ExcInfo) -> None:
    text = StringIO()
    structlog.dev.plain_traceback(text, exc_info)
    stream.write(printable(text.getvalue(), lines=True))


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger. Events are nouns, with fields as keywords."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def request_id_from(header: str | None) -> str:
    """The caller's request id if it is valid (8 to 64 letters, digits, `_` and `-`), else a new one."""
    if header is not None and _REQUEST_ID.fullmatch(header):
        return header
    return uuid.uuid4().hex


def current_request_id() -> str | None:
    """The request id of the running task, to send on in headers and messages."""
    value = structlog.contextvars.get_contextvars().get("request_id")
    return value if isinstance(value, str) else None


class HttpMetrics:
    """Number and latency of requests. Labels are route templates, so that they stay few."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "vitrine_http_requests_total", "Requests answered", ["method", "route", "status"], registry=registry
        )
        self.latency_s = Histogram(
            "vitrine_http_request_seconds",
            "Seconds from the first byte in to the last byte out",
            ["method", "route"],
            registry=registry,
            buckets=LATENCY_BUCKETS_S,
        )

    def observe(self, *, method: str, route: str, status: int, took_s: float) -> None:
        self.requests.labels(method, route, str(status)).inc()
        self.latency_s.labels(method, route).observe(took_s)


def _service_adder(service: str) -> structlog.types.Processor:
    def add(_logger: Any, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        event.setdefault("service", service)
        return event

    return add
