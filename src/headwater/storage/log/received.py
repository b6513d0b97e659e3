"""What frame headers say was received: summed per segment, each header read once."""

from bisect import bisect_right
from pathlib import Path

from headwater.domain.events import UNKNOWN_SOURCE
from headwater.storage.log.base import SegmentCounts
from headwater.storage.log.disk import Disk
from headwater.storage.log.frames import Gap, Header, counts_in, walk
from headwater.storage.log.segments import HEAD_BYTES, Segment, Span

FRAMES_PER_STOP = 1024
"""A question from the middle of a segment reads at most so many headers again, about 7 ms."""

Sum = dict[tuple[int, str], int]


class Received:
    """Not for several threads at once. A call costs the headers that are new since the last, about 7 us each."""

    def __init__(self, folder: Path, log_id: bytes, disk: Disk) -> None:
        self._folder = folder
        self._log_id = log_id
        self._disk = disk
        self._known: dict[int, _Running] = {}

    def after(self, span: Span, after_seq: int) -> SegmentCounts:
        """Counts of what the span holds above `after_seq`, gaps included as readers are given them."""
        if span.missing:
            first = max(span.first_seq, after_seq + 1)
            counts: Sum = {(span.minute, UNKNOWN_SOURCE): span.last_seq - first + 1}
            return SegmentCounts(self._log_id, span.segment, span.last_seq, counts)
        known = self._known.setdefault(span.segment, _Running(span))
        counts = known.total
        if known.stop.seq < span.last_seq or after_seq >= span.first_seq:
            with Segment(self._folder, span.segment, self._disk, HEAD_BYTES) as segment:
                known.read_to(span, segment, self._log_id)
                counts = known.after(after_seq, segment, self._log_id)
        return SegmentCounts(self._log_id, span.segment, span.last_seq, dict(counts))

    def forget(self, segment: int) -> None:
        """Damage was met there: read its headers again."""
        self._known.pop(segment, None)

    def keep_only(self, spans: list[Span]) -> None:
        """Segments that are gone take no memory."""
        held = {span.segment for span in spans}
        self._known = {segment: known for segment, known in self._known.items() if segment in held}


class Stop:
    """A frame end in a segment, and the sum of all before it."""

    __slots__ = ("minute", "offset", "seq", "total")

    def __init__(self, seq: int, offset: int, minute: int, total: Sum) -> None:
        self.seq = seq
        self.offset = offset
        self.minute = minute
        self.total = total


class _Running:
    """The sum of one segment as far as it was read, and stops on the way there."""

    def __init__(self, span: Span) -> None:
        self.total: Sum = {}
        self.stop = Stop(span.first_seq - 1, HEAD_BYTES, span.minute, self.total)
        self._stops = [Stop(span.first_seq - 1, HEAD_BYTES, span.minute, {})]
        self._frames = 0

    def read_to(self, span: Span, segment: Segment, log_id: bytes) -> None:
        stop = self.stop
        found = walk(segment.read, log_id, stop.offset, span.end, stop.seq + 1, span.last_seq, stop.minute)
        for item, stop.minute in found:
            _add(self.total, counts_in(item), 1)
            stop.seq, stop.offset = item.last_seq, item.end
            self._frames += 1
            if self._frames % FRAMES_PER_STOP == 0:
                self._stops.append(Stop(stop.seq, stop.offset, stop.minute, dict(self.total)))

    def after(self, after_seq: int, segment: Segment, log_id: bytes) -> Sum:
        """The total less what lies up to `after_seq`."""
        near = self._stops[max(0, bisect_right(self._stops, after_seq, key=lambda stop: stop.seq) - 1)]
        part = dict(self.total)
        _add(part, near.total, -1)
        found = walk(segment.read, log_id, near.offset, self.stop.offset, near.seq + 1, self.stop.seq, near.minute)
        for item, _ in found:
            if item.first_seq > after_seq:
                break
            _add(part, _up_to(item, after_seq), -1)
        return {key: n for key, n in part.items() if n}


def _up_to(item: Header | Gap, after_seq: int) -> Sum:
    """Counts at or below `after_seq`; a frame is there as a whole or not at all."""
    if item.last_seq <= after_seq:
        return counts_in(item)
    if isinstance(item, Gap):
        return {(item.minute, UNKNOWN_SOURCE): after_seq - item.first_seq + 1}
    return {}


def _add(total: Sum, counts: Sum, sign: int) -> None:
    for key, n in counts.items():
        total[key] = total.get(key, 0) + sign * n
