"""Import files: read, send in chunks, remember how far it came. The way to the collector is a function passed in."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from headwater.collect.importing.answers import RETRY_SECONDS
from headwater.collect.importing.csv_rows import BY_NAME, Columns
from headwater.collect.importing.formats import Read, format_of, origin_of, reader_of
from headwater.collect.importing.opening import Input
from headwater.collect.importing.records import BadLine, Origin, Record, bad_line, quarantined_event, reason_of
from headwater.collect.importing.report import REJECTED_KEPT, FileReport, ImportReport, Rejected
from headwater.collect.importing.state import Reached, identity_of, read_state, state_file, write_state
from headwater.domain.errors import BadInput, Conflict, HeadwaterError, NotFound, Overloaded, Unavailable
from headwater.domain.timerange import zone_of

CHUNK_EVENTS_MAX = 1000
CHUNK_BYTES_MAX = 900_000
"""Bodies above 1 MiB are judged event by event, at a third of the speed."""
PATIENCE_SECONDS = 300.0
"""How long one chunk is tried while the collector is overloaded or away."""

Send = Callable[[bytes, Mapping[str, str]], Mapping[str, Any]]
"""Body (a JSON array) and headers in, the decoded answer of POST /api/v1/events out, once it is durable.

Raises Overloaded or Unavailable where the same body may be sent again (after `retry_after_seconds`), BadInput or
TooLarge where this body never will be taken, Refused where nothing will. `answers.answer_of` does so for HTTP.
"""


class Progress(NamedTuple):
    file: str
    bytes_done: int
    """Of all files, as they lie on the disk."""
    bytes_total: int
    lines: int
    accepted: int
    duplicate: int
    quarantined: int


class Chunk(NamedTuple):
    """At most CHUNK_EVENTS_MAX records and about CHUNK_BYTES_MAX; after it reading goes on at `offset`."""

    lines: list[int]
    events: list[bytes]
    offset: int
    line: int
    seen: int
    """Records read, those not to be sent included."""


def import_files(
    paths: Sequence[Path],
    send: Send,
    *,
    format_name: str | None = None,
    source: str | None = None,
    columns: Columns = BY_NAME,
    state_folder: Path | None = None,
    destination: str = "",
    on_progress: Callable[[Progress], object] = lambda progress: None,
    pause: Callable[[float], object] = time.sleep,
) -> ImportReport:
    """Send every line of every file. Good lines are stored, bad ones stand in quarantine, or the report says why not.

    The format is that of each file's name where `format_name` is None. With a `state_folder` a killed import goes on
    where it was; `destination` (server and project, or data folder) keeps the states of several apart. A file that
    can't be read doesn't stop the others; a collector that refuses, or is away for PATIENCE_SECONDS, stops all. Raises
    BadInput, before anything is sent, for a wrong format or time zone.
    """
    plans = [(path, format_name or format_of(path)) for path in paths]
    readers = {name: reader_of(name, columns) for _, name in plans}
    if columns.time_zone is not None:
        zone_of(columns.time_zone, "time zone")
    report = ImportReport([], [])
    sizes = [path.stat().st_size if path.is_file() else 0 for path in paths]
    stopped: HeadwaterError | None = None
    for number, (path, name) in enumerate(plans):
        file_report = FileReport(str(path), error=stopped)
        report.files.append(file_report)
        if stopped is not None:
            continue

        def tell(consumed: int, path: Path = path, before: int = sum(sizes[:number])) -> None:
            counts = (report.lines, report.accepted, report.duplicate, report.quarantined)
            on_progress(Progress(str(path), before + consumed, sum(sizes), *counts))

        origin = origin_of(path, name, source)
        told = (destination, name, origin.source, repr(columns))
        state = None if state_folder is None else state_file(state_folder, path, told)
        deliver = _Delivery(send, pause, origin, report, file_report)
        try:
            _import_file(path, readers[name], origin, state, deliver, tell)
        except _Stopped as error:
            stopped = file_report.error = error.reason
        except BadInput as error:
            file_report.error = error
    return report


class _Stopped(Exception):
    """The collector takes no more, whatever the file."""

    def __init__(self, reason: HeadwaterError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class _Delivery:
    """Chunks of one file on their way to the collector, counted into its report."""

    def __init__(
        self, send: Send, pause: Callable[[float], object], origin: Origin, report: ImportReport, file: FileReport
    ) -> None:
        self.origin = origin
        self.file = file
        self._send = send
        self._pause = pause
        self._report = report

    def deliver(self, lines: Sequence[int], events: Sequence[bytes]) -> None:
        """Until acknowledged. A body that is refused as a whole is halved down to the event that it is refused for,
        which then goes as a bad line. Raises _Stopped."""
        if not events:
            return
        try:
            answer = self._send_patiently(b"[" + b",".join(events) + b"]")
        except (NotFound, Conflict) as error:
            raise _Stopped(error) from error
        except BadInput as error:
            if len(events) > 1:
                half = len(events) // 2
                self.deliver(lines[:half], events[:half])
                self.deliver(lines[half:], events[half:])
                return
            self._deliver_refused(lines[0], events[0], error)
            return
        except HeadwaterError as error:
            raise _Stopped(error) from error
        self._count(lines, events, answer)

    def _deliver_refused(self, line: int, event: bytes, error: BadInput) -> None:
        bad = bad_line(event, error.code, error.detail)
        event = quarantined_event(self.origin, line, bad)
        try:
            self._count([line], [event], self._send_patiently(b"[" + event + b"]"))
        except HeadwaterError as again:
            # Not even that: it is not the event that is refused.
            raise _Stopped(again) from error

    def _send_patiently(self, body: bytes) -> Mapping[str, Any]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return self._send(body, {"Content-Type": "application/json"})
            except (Overloaded, Unavailable) as error:
                wait_seconds = error.retry_after_seconds or RETRY_SECONDS
                if time.monotonic() + wait_seconds > deadline:
                    raise
            self._pause(wait_seconds)

    def _count(self, lines: Sequence[int], events: Sequence[bytes], answer: Mapping[str, Any]) -> None:
        self.file.accepted += answer["accepted"]
        self.file.duplicate += answer["duplicate"]
        self.file.quarantined += answer["quarantined"]
        for result in answer.get("results", ()):
            if result["status"] == "quarantined" and len(self._report.rejected) < REJECTED_KEPT:
                index = result["index"]
                # Of a line that was no event the collector knows only that.
                code, detail = reason_of(events[index]) or (result["code"], result["detail"])
                self._report.rejected.append(Rejected(self.origin.file, lines[index], code, detail))


def _import_file(
    path: Path,
    read: Read,
    origin: Origin,
    state: Path | None,
    delivery: _Delivery,
    tell: Callable[[int], None],
) -> None:
    with Input(path) as source:
        reached = Reached(str(path), identity_of(path)) if state is None else read_state(state, path)
        known = reached.offset if reached.is_finished else 0
        if reached.is_finished:
            reached = msgspec.structs.replace(reached, offset=0, line=0, is_finished=False)
        delivery.file.resumed_at = reached.offset
        for chunk in chunks_of(read(source, origin, reached.offset, reached.line), origin, known):
            delivery.deliver(chunk.lines, chunk.events)
            delivery.file.lines += chunk.seen
            delivery.file.bad_known += chunk.seen - len(chunk.events)
            reached = msgspec.structs.replace(reached, offset=chunk.offset, line=chunk.line)
            if state is not None and chunk.offset > known:
                write_state(state, reached)
            tell(source.consumed)
        if state is not None:
            write_state(state, msgspec.structs.replace(reached, is_finished=True))
        tell(source.size)


def chunks_of(records: Iterable[Record], origin: Origin, known: int = 0) -> Iterator[Chunk]:
    """Records grouped for sending. Bad lines that end at or before the offset `known` are left out."""
    lines: list[int] = []
    events: list[bytes] = []
    size = seen = 0
    record = None
    for record in records:
        seen += 1
        event = record.event
        if isinstance(event, BadLine):
            event = b"" if record.end <= known else quarantined_event(origin, record.line, event)
        if event:
            lines.append(record.line)
            events.append(event)
            size += len(event)
        if len(events) >= CHUNK_EVENTS_MAX or size >= CHUNK_BYTES_MAX:
            yield Chunk(lines, events, record.end, record.last, seen)
            lines, events = [], []
            size = seen = 0
    if record is not None and seen:
        yield Chunk(lines, events, record.end, record.last, seen)
