"""Which segments may go, and letting them go so that a crash neither loses nor doubles their counts."""

from collections.abc import Callable, Iterator
from pathlib import Path

from headwater.storage.log.base import SegmentCounts
from headwater.storage.log.disk import Disk
from headwater.storage.log.reader import FileLogReader
from headwater.storage.log.segments import Span, path_of


def trim_segments(
    folder: Path,
    reader: FileLogReader,
    done_seq: int,
    bytes_wanted: int,
    made_before: float,
    before_drop: Callable[[SegmentCounts], None],
    disk: Disk,
) -> Iterator[int]:
    """Unlink from the oldest on while the log holds more than `bytes_wanted`, or the segment was last written before
    `made_before` (seconds since the epoch), and everything in it is at or below `done_seq`. Yields bytes freed.
    """
    spans = reader.spans()
    held = sum(path_of(folder, span.segment).stat().st_size for span in spans if not span.missing)
    for group in _droppable(spans, done_seq):
        path = path_of(folder, group[0].segment)
        facts = path.stat()
        if held <= bytes_wanted and facts.st_mtime >= made_before:
            return
        # Counts of segments missing after this one are seen only while this one stands.
        for span in group:
            if span.last_seq >= span.first_seq:
                before_drop(reader.received(span))
        disk.unlink(path)
        disk.sync_folder(folder)
        held -= facts.st_size
        yield facts.st_size


def _droppable(spans: list[Span], done_seq: int) -> Iterator[list[Span]]:
    """Each segment, oldest first, with the missing ones that follow it; never the last one that is held."""
    groups: list[list[Span]] = []
    for span in spans:
        if span.missing and groups:
            groups[-1].append(span)
        else:
            groups.append([span])
    for group in groups[:-1]:
        if group[-1].last_seq > done_seq:
            return
        yield group
