"""Reading a log's files: durable frames in order, with what can't be read told as damage."""

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from headwater.domain.errors import Damaged, Unavailable
from headwater.storage.log.base import READ_BYTES_MAX, Damage, Frame, Kind, SegmentCounts
from headwater.storage.log.damaged import set_aside
from headwater.storage.log.disk import Disk, refusal
from headwater.storage.log.frames import (
    SEQ_MAX,
    Gap,
    Header,
    clipped,
    counts_in,
    decode_body,
    next_header,
    walk,
)
from headwater.storage.log.marks import Mark, MarkFile
from headwater.storage.log.received import Received
from headwater.storage.log.segments import HEAD_BYTES, Segment, Span, list_segments, read_head, spans_of

POLL_SECONDS = 0.015
"""How often a reader looks for what another process has written."""
_WINDOW_BYTES = 256 << 10


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where the next read goes on: what follows `seq` begins at `offset` of the segment, or in the segment after."""

    seq: int
    segment: int
    offset: int
    minute: int


class FileLogReader:
    """LogReader over a log folder. With `wake`, which the writer of this process notifies, it waits without polling."""

    def __init__(
        self, folder: Path, log_id: bytes, disk: Disk | None = None, wake: threading.Condition | None = None
    ) -> None:
        self.log_id = log_id
        self._folder = folder
        self._disk = disk or Disk()
        self._wake = wake
        self._durable = MarkFile(folder / "durable", log_id, self._disk, writable=False)
        self._received = Received(folder, log_id, self._disk)
        self._consumers: dict[tuple[str, bool], MarkFile] = {}
        self._spans: list[Span] = []
        self._spans_until = -1
        self._place: Place | None = None
        self._segment: tuple[int, Segment] | None = None
        self._known_ahead = 0
        self._closed = False

    def first_seq(self) -> int:
        spans = self.spans()
        return spans[0].floor + 1 if spans else self.durable_seq() + 1

    def durable_seq(self) -> int:
        mark = self._durable.read()
        return 0 if mark is None else mark.seq

    def read(
        self, after_seq: int, events_max: int, wait_seconds: float, bytes_max: int = READ_BYTES_MAX
    ) -> Sequence[Frame | Damage]:
        deadline = time.monotonic() + wait_seconds
        while True:
            mark = self._durable.read()
            if mark is None or mark.seq <= after_seq:
                self._check_waiting(mark, after_seq)
            elif items := self._read(mark, after_seq, events_max, bytes_max):
                return items
            if not self._wait(after_seq, deadline):
                return []

    def headers(self, after_seq: int = 0) -> Sequence[SegmentCounts]:
        while True:
            spans = self.spans()
            self._received.keep_only(spans)
            try:
                return [
                    self._received.after(span, after_seq)
                    for span in spans
                    if span.last_seq >= span.first_seq and span.last_seq > after_seq
                ]
            except FileNotFoundError:
                continue  # trimmed since the listing: its counts are elsewhere by now

    def report(self, consumer: str, seq: int) -> None:
        try:
            self._consumer(consumer, writable=True).write(Mark(seq))
        except OSError as error:
            raise refusal(error, self._folder) from error

    def reported(self, consumer: str) -> int:
        try:
            mark = self._consumer(consumer, writable=False).read()
        except FileNotFoundError:
            return 0
        return 0 if mark is None else mark.seq

    def spans(self) -> list[Span]:
        """What is held, segment by segment, up to the durable mark."""
        mark = self._durable.read()
        while mark is not None:
            try:
                return spans_of(self._folder, self.log_id, mark, self._disk)
            except FileNotFoundError:
                self._check_same_folder()
        return []

    def received(self, span: Span) -> SegmentCounts:
        """All counts of one span."""
        return self._received.after(span, 0)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._segment is not None:
            self._segment[1].close()
        for mark in (self._durable, *self._consumers.values()):
            mark.close()

    def _read(self, mark: Mark, after_seq: int, events_max: int, bytes_max: int) -> list[Frame | Damage]:
        items: list[Frame | Damage] = []
        events = size = 0
        try:
            for span, item, minute in self._ahead(mark, after_seq):
                events += item.n
                size += item.raw_bytes if isinstance(item, Header) else 0
                if items and (events > events_max or size > bytes_max):
                    break
                items.append(self._give(span, item))
                self._place = Place(item.last_seq, span.segment, item.end, minute)
        except FileNotFoundError:
            self._spans_until = -1  # trimmed or deleted since the listing: what was read so far still counts
            self._check_same_folder()
        except OSError as error:
            raise Unavailable(
                f"log in {self._folder} can't be read: {error.strerror}",
                code="LOG_UNREADABLE",
                path=str(self._folder),
                hint="look at the disk; a segment copied around its bad blocks reads on with the damage told",
            ) from error
        return items

    def _ahead(self, mark: Mark, after_seq: int) -> Iterator[tuple[Span, Header | Gap, int]]:
        """Everything durable above `after_seq`, from where the last read ended if it is the same place."""
        place = self._place
        if place is None or place.seq != after_seq:
            place = self._place = None
        spans = self._spans_to(mark)
        if after_seq < (spans[0].floor if spans else mark.seq):
            first = spans[0].floor + 1 if spans else mark.seq + 1
            raise Damaged(
                f"position {after_seq} lies before the log, which begins at {first}",
                code="POSITION_BEHIND_LOG",
                value=after_seq,
                limit=first,
                hint="what lies between is in the lake: fill from there",
            )
        for span in spans:
            if span.last_seq <= after_seq or span.last_seq < span.first_seq:
                continue
            if span.missing:
                gap = Gap(span.first_seq, span.last_seq - span.first_seq + 1, span.minute, 0, 0)
                yield span, clipped(gap, after_seq), span.minute
                continue
            segment = self._enter(span)
            offset, seq, minute = HEAD_BYTES, span.first_seq, span.minute
            if place is not None and place.segment == span.segment:
                offset, seq, minute = place.offset, place.seq + 1, place.minute
            for item, minute_then in walk(segment.read, self.log_id, offset, span.end, seq, span.last_seq, minute):
                if item.last_seq > after_seq:
                    yield span, self._whole(item, after_seq), minute_then

    def _whole(self, item: Header | Gap, after_seq: int) -> Header | Gap:
        if isinstance(item, Header) and item.first_seq <= after_seq:
            raise Damaged(
                f"position {after_seq} lies inside the frame {item.first_seq}-{item.last_seq}, not at a frame end",
                code="POSITION_INSIDE_FRAME",
                value=after_seq,
                hint="the position is of another log: rebuild its store from the lake",
            )
        return clipped(item, after_seq)

    def _give(self, span: Span, item: Header | Gap) -> Frame | Damage:
        if isinstance(item, Gap):
            self._received.forget(span.segment)
            reason = f"segment {span.segment} is missing" if span.missing else "no readable frame header"
        else:
            segment = self._enter(span, again=False)
            try:
                sizes, payloads = decode_body(item, segment.read(item.body_offset, item.body_bytes))
            except ValueError as error:
                reason = str(error)
            else:
                return Frame(item.first_seq, item.n, Kind(item.kind), item.counts(), payloads, sizes)
        if not span.missing:
            where = set_aside(self._folder, span.segment, item.offset, item.end, self._disk)
            reason = f"segment {span.segment}, bytes {item.offset}-{item.end}: {reason}; {where}"
        return Damage(item.first_seq, item.n, counts_in(item), reason)

    def _enter(self, span: Span, *, again: bool = True) -> Segment:
        """The open segment; `again` forgets bytes seen before, which may have been beyond the durable end then."""
        if self._segment is not None and self._segment[0] == span.segment:
            if again:
                self._segment[1].forget()
            return self._segment[1]
        opened = Segment(self._folder, span.segment, self._disk, _WINDOW_BYTES)
        if self._segment is not None:
            self._segment[1].close()
        self._segment = (span.segment, opened)
        return opened

    def _spans_to(self, mark: Mark) -> list[Span]:
        """As `spans`, but listed anew only when the writer has begun another segment."""
        if self._spans_until != mark.segment:
            self._spans = spans_of(self._folder, self.log_id, mark, self._disk)
            self._spans_until = mark.segment
        elif self._spans:
            self._spans[-1] = msgspec.structs.replace(self._spans[-1], last_seq=mark.seq, end=mark.end)
        return self._spans

    def _wait(self, after_seq: int, deadline: float) -> bool:
        """False when the time is over; else something may have changed."""
        left = deadline - time.monotonic()
        if left <= 0 or self._closed:
            return False
        if self._wake is None:
            time.sleep(min(POLL_SECONDS, left))
            return True
        with self._wake:
            self._wake.wait_for(lambda: self.durable_seq() > after_seq, left)
        return True

    def _check_waiting(self, mark: Mark | None, after_seq: int) -> None:
        """Nothing above `after_seq` is published: is it right to wait there?"""
        self._check_same_folder()
        durable = 0 if mark is None else mark.seq
        if after_seq <= max(durable, self._known_ahead):
            return
        # After power loss the mark may be behind what is on the disk until a writer has started: look at the bytes.
        if not self._holds(after_seq):
            raise Damaged(
                f"position {after_seq} lies beyond the log, which ends at {durable}",
                code="POSITION_AHEAD_OF_LOG",
                value=after_seq,
                limit=durable,
                hint="the log was rolled back or replaced: bring it back, or start a new log above the position",
            )
        self._known_ahead = after_seq

    def _holds(self, seq: int) -> bool:
        for first in reversed(list_segments(self._folder)):
            head = read_head(self._folder, first, self._disk)
            if head is not None and head.log_id == self.log_id and head.prev_last >= seq:
                return True
            with Segment(self._folder, first, self._disk, _WINDOW_BYTES) as segment:
                offset, size = HEAD_BYTES, segment.size()
                while (found := next_header(segment.read, offset, size, self.log_id, first, SEQ_MAX)) is not None:
                    if found.last_seq >= seq:
                        return True
                    offset = found.end
        return False

    def _check_same_folder(self) -> None:
        try:
            same = (self._folder / "durable").stat().st_ino == self._durable.inode
        except FileNotFoundError:
            same = False
        if not same:
            raise Damaged(
                f"log folder {self._folder} was deleted or replaced while it was read",
                code="LOG_REPLACED",
                path=str(self._folder),
                hint="bring the folder back and start again, or start a new log above the stored positions",
            )

    def _consumer(self, name: str, *, writable: bool) -> MarkFile:
        mark = self._consumers.get((name, writable))
        if mark is None:
            path = self._folder / "consumers" / name
            mark = self._consumers[name, writable] = MarkFile(path, self.log_id, self._disk, writable=writable)
        return mark
