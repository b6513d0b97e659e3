"""Our own text output: one line an occurrence, event name + facts, of five kinds, to stderr.

    INFO an operator's action worked · WARNING recovered, nothing lost · ERROR data lost, or a person is needed

Nothing per event above DEBUG. Lines never hold a secret or a body (`redact.py`), and a stuck stderr never blocks who
writes: lines wait in a bounded queue for a thread, and what does not fit is counted and said.
"""

import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Literal

from headwater.observe.lines import Lines, Target
from headwater.observe.redact import clean

Kind = Literal["application", "access", "error", "audit", "pipeline"]
Level = Literal["debug", "info", "warning", "error"]
Form = Literal["auto", "json", "console"]

_LEVELS: dict[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_bound: ContextVar[Mapping[str, Any]] = ContextVar("headwater_journal", default=MappingProxyType({}))


class Journal:
    """Writes lines of one kind. Facts are keyword arguments; `exc_info=error` adds an exception and its traceback."""

    __slots__ = ("kind",)

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def wants_debug(self) -> bool:
        """For who would have to gather the facts first."""
        return _settings.level <= 10

    def debug(self, event: str, **facts: Any) -> None:
        if _settings.level <= 10:
            _write(self.kind, "debug", event, facts)

    def info(self, event: str, **facts: Any) -> None:
        if _settings.level <= 20:
            _write(self.kind, "info", event, facts)

    def warning(self, event: str, **facts: Any) -> None:
        if _settings.level <= 30:
            _write(self.kind, "warning", event, facts)

    def error(self, event: str, **facts: Any) -> None:
        _write(self.kind, "error", event, facts)


class _Settings:
    def __init__(self) -> None:
        self.level = _LEVELS["warning"]
        self.lines = Lines(None)
        self.render: Any = None


_settings = _Settings()


def get_journal(kind: Kind) -> Journal:
    return Journal(kind)


def configure(form: Form = "auto", level: Level = "info", stream: Target = None) -> None:
    """Set what is written and how; `auto` is the console form on a terminal and JSON elsewhere.

    Before this is called, warnings and errors go to stderr, so that commands stay quiet. `stream` needs `fileno()`;
    None is stderr. What other libraries log comes here too, from WARNING on, as kind `application`.
    """
    from headwater.observe.foreign import take_over_logging

    _settings.lines.close()
    _settings.level, _settings.lines = _LEVELS[level], Lines(stream)
    # Now, or the first line would hold the event loop for the 0.2 s of that import.
    _settings.render = _renderer(form, _settings.lines.is_terminal())
    take_over_logging(Journal("application"))


def flush(seconds_max: float = 1.0) -> bool:
    """Wait until all lines so far are written; False when stderr took longer."""
    return _settings.lines.flush(seconds_max)


def dropped() -> int:
    """Lines lost because stderr was stuck or closed, since the last `configure`."""
    return _settings.lines.dropped


@contextmanager
def bind(**facts: Any) -> Iterator[None]:
    """Add facts to every line written inside, also in the tasks and `to_thread` calls begun there."""
    token = _bound.set({**_bound.get(), **facts})
    try:
        yield
    finally:
        _bound.reset(token)


@contextmanager
def bind_request(request_id: str) -> Iterator[None]:
    with bind(request_id=request_id):
        yield


@contextmanager
def bind_batch(batch_id: str) -> Iterator[None]:
    with bind(batch_id=batch_id):
        yield


def _write(kind: Kind, level: Level, event: str, facts: dict[str, Any]) -> None:
    error = facts.pop("exc_info", None)
    line = clean({**_bound.get(), **facts})
    if error is not None:
        line.update(clean(_told(error)))
    if _settings.render is None:
        _settings.render = _renderer("auto", _settings.lines.is_terminal())
    _settings.lines.put(_settings.render(kind, level, clean({"event": event})["event"], line))


def _told(error: Any) -> dict[str, Any]:
    if error is True:
        error = sys.exc_info()[1]
    if not isinstance(error, BaseException):
        return {}
    told: dict[str, Any] = {"error": f"{type(error).__name__}: {error}"}
    if getattr(error, "code", None) is not None:
        told["code"] = error.code  # type: ignore[attr-defined]  # a HeadwaterError, which this room doesn't know
    # From the end, where it happened: `clean` cuts long texts at their end.
    told["traceback"] = "".join(traceback.format_exception(error, limit=-8))
    return told


def _renderer(form: Form, terminal: bool) -> Any:
    """(kind, level, event, facts) → text with its newline."""
    import structlog  # takes 0.2 s: commands that say nothing do without it

    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True, key="at")
    if form == "json" or (form == "auto" and not terminal):
        encode: Any = structlog.processors.JSONRenderer(serializer=_json)
    else:
        encode = structlog.dev.ConsoleRenderer(colors=terminal, timestamp_key="at", pad_event_to=26, sort_keys=False)
        encode = _Console(encode)

    def render(kind: str, level: str, event: str, facts: dict[str, Any]) -> str:
        # Ours last: no fact may pass for the time, the level or the event of a line.
        head = stamp(None, level, {})
        line = {**head, "kind": kind, "level": level, "event": event}
        line.update((f"{name}_" if name in line else name, value) for name, value in facts.items())
        return str(encode(None, level, line)) + "\n"

    return render


class _Console:
    """One line stays one line: what could move a terminal's cursor is escaped; tracebacks follow on their own lines."""

    def __init__(self, render: Any) -> None:
        self._render = render

    def __call__(self, logger: Any, level: str, line: dict[str, Any]) -> str:
        trace = line.pop("traceback", None)
        line = {
            _printable(name): _printable(value) if isinstance(value, str) else value for name, value in line.items()
        }
        text = str(self._render(logger, level, line))
        return text if trace is None else f"{text}\n" + "\n".join(_printable(part) for part in trace.splitlines())


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _json(line: dict[str, Any], **_: Any) -> str:
    import msgspec

    return msgspec.json.encode(line).decode()
