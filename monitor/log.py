"""The program's own log: JSON lines on stderr, or lines for people on a terminal. No patient is ever in it.

What may be logged is listed, field by field; any other is left out and counted. Texts of exceptions and the messages of
libraries may hold what a patient's message said, so of these only the kind and the place in the code are told.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, TextIO, cast

import structlog

Level = Literal["debug", "info", "warning", "error"]
Fields = MutableMapping[str, Any]

FIELDS: Final = frozenset(
    {
        *("alert", "alerts", "at", "attempt", "behind_seconds", "bytes", "cases", "code", "codes", "column"),
        *("connection", "connections", "count", "deliveries", "digest", "due_at", "error", "events", "file", "files", "folded"),
        *("generation", "hint", "host", "journeys", "kind", "level", "library", "line", "logger", "messages"),
        *("method", "number", "origin", "pending", "place", "port", "reason", "receiver", "rejects", "retry_seconds"),
        *("role", "route", "rule", "rules", "seconds", "sequence", "severity", "signal", "since", "sink", "sources"),
        *("source", "state", "status", "steps", "trace", "until", "version", "what", "where", "why"),
    }
)  # fmt: skip
"""The fields that may be logged. `why`, `what` and `hint` are texts that we wrote, or the system's word for an error."""
_ONLY_OF: Final = {"text": "alert_told"}
"""Fields of one event alone. The text of an alert shows what `identifiers` of its sink lets it show."""
_EVENT: Final = re.compile(r"[a-z]+(?:_[a-z0-9]+)*")
_LONGEST: Final = 500
_DEEPEST: Final = 12
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_SPEAKS: Final = "uvicorn"
"""The one library whose messages are told, as it wrote them and without what it would fill in."""


class Refused(ValueError):  # noqa: N818 - named for what befell the field
    """Something was logged that nobody has said to be harmless; raised in tests only."""


class _Output:
    """Where lines go, and how; there is one in a process."""

    def __init__(self) -> None:
        self.reset()
        self._lock = threading.Lock()

    def reset(self) -> None:
        self.stream: TextIO | None = None
        self.level = _LEVELS["info"]
        self.is_strict = False
        self.on_dropped: Callable[[], object] = _nothing
        self.render: Callable[[Any, str, Fields], str] = _as_json

    def msg(self, line: str) -> None:
        """Write one line whole; what cannot be written is lost, and nothing else is."""
        with self._lock, suppress(OSError, ValueError):
            stream = self.stream or sys.stderr
            stream.write(line + "\n")
            stream.flush()

    debug = info = warning = error = critical = exception = msg

    def refuse(self, what: str) -> None:
        if self.is_strict:
            raise Refused(f"{what} is not known to be harmless: see `FIELDS` in monitor/log.py")
        self.on_dropped()


def _nothing() -> None:
    pass


def _as_json(_logger: Any, _method: str, fields: Fields) -> str:
    return json.dumps(fields, ensure_ascii=False)


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger of one part of the program: `log.info("rules_reloaded", rules=12)`.

    Events are in the past tense and snake case; fields are those of `FIELDS`. May be called from any thread, at any time.
    """
    every_level = structlog.make_filtering_bound_logger(logging.DEBUG)
    wrapped = structlog.wrap_logger(_output, processors=_PROCESSORS, wrapper_class=every_level)
    return cast("structlog.typing.FilteringBoundLogger", wrapped.bind(logger=name))


@contextmanager
def logged_to(
    stream: TextIO,
    *,
    level: Level = "info",
    form: Literal["auto", "json", "console"] = "auto",
    is_strict: bool = False,
) -> Iterator[None]:
    """Within it, our log and that of all libraries goes to a stream; `auto` is for people where that is a terminal.

    A field that nobody listed is left out, and counted by `count_dropped`; with `is_strict` it raises `Refused` instead.
    """
    for_people = form == "console" or (form == "auto" and stream.isatty())
    _output.stream, _output.level, _output.is_strict = stream, _LEVELS[level], is_strict
    if for_people:
        _output.render = structlog.dev.ConsoleRenderer(colors=stream.isatty(), timestamp_key="time")
    with _libraries(), _last_words():
        try:
            yield
        finally:
            _output.reset()


def count_dropped(count: Callable[[], object]) -> None:
    """Have `count` called for each field that is left out, until the log ends."""
    _output.on_dropped = count


# What becomes of a line


def _is_wanted(_logger: Any, method: str, fields: Fields) -> Fields:
    if _LEVELS.get(method, _LEVELS["error"]) < _output.level:
        raise structlog.DropEvent
    return fields


def _explained(_logger: Any, _method: str, fields: Fields) -> Fields:
    """In place of an exception its kind and where it was raised; its text may hold anything."""
    raised = fields.pop("exc_info", None)
    fields.pop("stack_info", None)
    if raised is True:
        raised = sys.exc_info()[1]
    elif isinstance(raised, tuple):
        raised = raised[1]
    if not isinstance(raised, BaseException):
        return fields
    fields["error"] = type(raised).__name__
    fields["trace"] = _trace(raised.__traceback__)
    if isinstance(raised, OSError) and raised.strerror:
        fields["why"] = raised.strerror
    return fields


def _trace(raised_at: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(raised_at)[-_DEEPEST:]
    return [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames]


def _harmless(_logger: Any, method: str, fields: Fields) -> Fields:
    """The fields that are known to be harmless, in a form that cannot be mistaken; first when, how grave and what."""
    event = fields.pop("event", "")
    if not isinstance(event, str) or not _EVENT.fullmatch(event):
        _output.refuse("the name of an event")
        event = "event_withheld"
    kept: Fields = {"time": _now(), "level": "error" if method == "exception" else method, "event": event}
    for name, value in fields.items():
        if name not in FIELDS and _ONLY_OF.get(name) != event:
            _output.refuse(f"the field `{name}` of `{event}`")
        elif name == "level":
            kept["alert_level"] = value
        else:
            kept[name] = _plain(value)
    return kept


def _plain(value: Any) -> Any:
    """A value as JSON has it; texts are cut, and what is neither text, number, time nor a list of these is only named."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str | Path):
        text = str(value)
        return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    _output.refuse(f"a value of the type {type(value).__name__}")
    return type(value).__name__


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")  # noqa: TID251 - lines carry when they were written


def _rendered(logger: Any, method: str, fields: Fields) -> str:
    return _output.render(logger, method, fields)


_PROCESSORS: Final[list[Any]] = [_is_wanted, _explained, _harmless, _rendered]
_output = _Output()


# What others say


class _FromLibraries(logging.Handler):
    """Lines of libraries: which, how grave, from where in its code; never what, for it may hold a URL or a body."""

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"library": record.name, "where": f"{record.filename}:{record.lineno}"}
        raised = record.exc_info or record.msg
        if record.name.startswith(_SPEAKS) and isinstance(record.msg, str):
            fields["what"] = record.msg.strip()
        method = record.levelname.lower() if record.levelname.lower() in _LEVELS else "error"
        getattr(_library, method)("library_spoke", exc_info=raised, **fields)


_library = get_logger("libraries")


@contextmanager
def _libraries() -> Iterator[None]:
    """Takes the standard library's log over: from warnings on, and nothing of requests, whose lines hold URLs."""
    root, requests, handler = logging.getLogger(), logging.getLogger("uvicorn.access"), _FromLibraries()
    before, root.handlers, level = root.handlers, [handler], root.level
    root.setLevel(logging.WARNING)
    requests.disabled = True
    logging.captureWarnings(capture=True)
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        requests.disabled = False
        root.handlers = before
        root.setLevel(level)


@contextmanager
def _last_words() -> Iterator[None]:
    """What Python itself would print of an exception that nobody caught, with all that its text holds."""
    of_thread, of_object = threading.excepthook, sys.unraisablehook
    threading.excepthook = lambda args: _library.error("thread_failed", exc_info=args.exc_value)
    sys.unraisablehook = lambda args: _library.error("cleanup_failed", exc_info=args.exc_value)
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = of_thread, of_object
