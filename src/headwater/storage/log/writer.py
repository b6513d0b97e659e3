"""The one writer of a log: a thread that takes all that waits, writes it as a frame, syncs, and answers."""

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from headwater.domain.errors import BadInput, TooLarge, Unavailable
from headwater.storage.log.base import Entry, Kind, OnDurable, Outcome, SegmentCounts
from headwater.storage.log.damaged import count_set_aside
from headwater.storage.log.disk import Disk, refusal
from headwater.storage.log.frames import FRAME_BYTES_MAX, FRAME_EVENTS_MAX, encode_frame
from headwater.storage.log.marks import Mark, MarkFile
from headwater.storage.log.reader import FileLogReader
from headwater.storage.log.recovery import Tail
from headwater.storage.log.segments import HEAD_BYTES, create_segment, head_of_next, list_segments, path_of
from headwater.storage.log.trimming import trim_segments

ENTRY_EVENTS_MAX = 10_000

Waiting = tuple[Entry, Any]


class Limits(msgspec.Struct, frozen=True):
    segment_bytes: int
    bytes_max: int
    """Of all segments. Reached with nothing to trim, appends are refused."""
    age_hours_max: float
    queue_bytes_max: int


class FileLogWriter:
    """LogWriter over a log folder; made by `files.open_writer`, which holds the folder's lock for it."""

    def __init__(
        self,
        folder: Path,
        log_id: bytes,
        tail: Tail,
        durable: MarkFile,
        on_durable: OnDurable,
        consumers: tuple[str, ...],
        limits: Limits,
        disk: Disk,
        release: Callable[[], None],
    ) -> None:
        """Raises OSError when a segment is needed and can't be made."""
        self.log_id = log_id
        self.wake = threading.Condition()
        self._folder = folder
        self._durable = durable
        self._on_durable = on_durable
        self._consumers = consumers
        self._limits = limits
        self._disk = disk
        self._release = release

        self._mark = tail.durable
        self._next_seq = tail.next_seq
        self._descriptor: int | None = None
        self._end = 0
        """Where the open segment ends; every byte below is durable."""
        self._bytes_before = sum(path_of(folder, first).stat().st_size for first in list_segments(folder))
        """Of all segments but the open one. Changed under `_lock`: by the writer at rotation, by trimming."""

        # `_lock` guards the way in: several threads may append. The way out has one thread and counts for itself.
        # `_bell` is held while there is nothing to say; who appends while the writer is idle lets go of it, once.
        self._lock = threading.Lock()
        self._queue: deque[Waiting] = deque()
        self._events_in = self._bytes_in = self._events_out = self._bytes_out = 0
        self._refusal: Unavailable | None = None
        self._in_hand: list[Waiting] = []
        self._bell = threading.Lock()
        self._bell.acquire()
        self._idle = False
        self._trimming = threading.Lock()
        self._facts = {
            "frames": 0,
            "frame_bytes": 0,
            "sync_seconds": 0.0,
            "sync_failures": 0,
            "write_failures": 0,
            "torn_bytes": tail.torn_bytes,
        }

        self._begin(tail)
        self._thread = threading.Thread(target=self._run, name="headwater-log", daemon=True)
        self._thread.start()

    def append(self, entry: Entry, token: Any) -> None:
        size, n, limits = len(entry.payload), entry.n, self._limits
        if not 0 < n <= ENTRY_EVENTS_MAX:
            raise BadInput(f"log: an entry holds 1 to {ENTRY_EVENTS_MAX} events, not {n}", value=n)
        assert sum(entry.counts.values()) == (n if entry.kind is Kind.EVENTS else 0), "counts are not those of n"
        with self._lock:
            if self._refusal is not None:
                raise self._refusal.with_traceback(None)
            waiting = self._bytes_in - self._bytes_out
            if waiting + size > limits.queue_bytes_max or self._bytes_before + self._end > limits.bytes_max:
                raise self._full(size, waiting)
            self._queue.append((entry, token))
            self._bytes_in += size
            self._events_in += n
            self._ring()

    def durable_seq(self) -> int:
        return self._mark.seq

    def queued(self) -> tuple[int, int]:
        return self._events_in - self._events_out, self._bytes_in - self._bytes_out

    def reader(self) -> FileLogReader:
        return FileLogReader(self._folder, self.log_id, self._disk, self.wake)

    def trim(self, before_drop: Callable[[SegmentCounts], None]) -> int:
        limits = self._limits
        with self._trimming, contextlib.closing(self.reader()) as reader:
            done = min((reader.reported(name) for name in self._consumers), default=0)
            # Room for two segments is made ahead, so that appends are not refused between two rounds of trimming.
            bytes_wanted = max(limits.bytes_max // 2, limits.bytes_max - 2 * limits.segment_bytes)
            made_before = time.time() - limits.age_hours_max * 3600
            dropped = 0
            for size in trim_segments(self._folder, reader, done, bytes_wanted, made_before, before_drop, self._disk):
                with self._lock:
                    self._bytes_before -= size
                dropped += 1
            return dropped

    def broken(self) -> Unavailable | None:
        refusal = self._refusal
        return None if refusal is None or refusal.code == "LOG_CLOSED" else refusal

    def facts(self) -> Mapping[str, float]:
        held = self._bytes_before + self._end
        return {**self._facts, "bytes": held, "damaged_ranges": count_set_aside(self._folder)}

    def close(self) -> None:
        with self._lock:
            if self._refusal is None:
                self._refusal = Unavailable("log is closed; the server is stopping", code="LOG_CLOSED")
            self._ring()
        self._thread.join()

    def _ring(self) -> None:
        """Wake the writer where it waits; under `_lock`."""
        if self._idle:
            self._idle = False
            self._bell.release()

    def _full(self, size: int, waiting: int) -> Unavailable | TooLarge:
        limits = self._limits
        if size > limits.queue_bytes_max:
            return TooLarge(
                f"log: an entry of {size} bytes is over the limit of {limits.queue_bytes_max}",
                value=size,
                limit=limits.queue_bytes_max,
            )
        if waiting + size > limits.queue_bytes_max:
            return Unavailable(
                f"log: {waiting} bytes wait to be written, the limit is {limits.queue_bytes_max}; send again later",
                code="LOG_QUEUE_FULL",
                limit=limits.queue_bytes_max,
                retry_after_seconds=1,
            )
        return Unavailable(
            f"log: its segments hold the limit of {limits.bytes_max} bytes and none is done with by all consumers",
            code="LOG_FULL",
            limit=limits.bytes_max,
            hint="see why processing or the lake stands still, or raise log.bytes_max",
            retry_after_seconds=5,
        )

    def _run(self) -> None:
        try:
            while (items := self._take()) is not None:
                self._in_hand = items
                outcomes = self._write(items)
                self._in_hand = []
                self._events_out += sum(entry.n for entry, _ in items)
                self._bytes_out += sum(len(entry.payload) for entry, _ in items)
                self._on_durable(outcomes)
        except BaseException as error:
            # A defect, not a bad day: say it to whoever comes, strand nobody who waits.
            self._stop_at_defect(error)
            raise
        finally:
            self._let_go()

    def _take(self) -> list[Waiting] | None:
        """The oldest entries that fit into one frame; waits for some. None when closed and all is done."""
        queue = self._queue
        while not queue:
            with self._lock:
                if queue:
                    break
                if self._refusal is not None:
                    return None
                self._idle = True
            self._bell.acquire()
        items: list[Waiting] = []
        kind, events, size = queue[0][0].kind, 0, 0
        while queue:
            entry = queue[0][0]
            events += entry.n
            size += len(entry.payload)
            if items and (entry.kind != kind or events > FRAME_EVENTS_MAX or size > FRAME_BYTES_MAX):
                break
            items.append(queue.popleft())
        return items

    def _write(self, items: list[Waiting]) -> list[tuple[Any, Outcome]]:
        """One frame, durable and published; or why not, for each of its entries."""
        first_seq = self._next_seq
        head, body = encode_frame(self.log_id, first_seq, [entry for entry, _ in items])
        size = len(head) + len(body)
        try:
            if self._descriptor is None or HEAD_BYTES < self._end > self._limits.segment_bytes - size:
                self._open_next()
        except OSError as error:
            # The next segment may stand there all the same, and says where this one ends: nothing may follow here.
            self._drop_descriptor()
            return self._refuse(items, error)
        descriptor = self._descriptor
        assert descriptor is not None
        try:
            self._disk.write(descriptor, [head, body], self._end)
        except OSError as error:
            return self._undo(items, descriptor, error)
        started = time.perf_counter()
        try:
            self._disk.sync(descriptor)
        except OSError as error:
            self._facts["sync_failures"] += 1
            return self._abandon(items, error)
        self._facts["sync_seconds"] += time.perf_counter() - started
        if os.fstat(descriptor).st_nlink == 0:
            return self._deleted(items)
        self._facts["frames"] += 1
        self._facts["frame_bytes"] += size
        outcomes: list[tuple[Any, Outcome]] = []
        for entry, token in items:
            outcomes.append((token, self._next_seq))
            self._next_seq += entry.n
        self._end += size
        self._publish(Mark(self._next_seq - 1, self._mark.segment, self._end))
        return outcomes

    def _publish(self, mark: Mark) -> None:
        self._mark = mark
        self._durable.write(mark)
        with self.wake:
            self.wake.notify_all()

    def _begin(self, tail: Tail) -> None:
        if tail.reuse:
            path = path_of(self._folder, self._mark.segment)
            self._descriptor = self._disk.open(path, os.O_RDWR)
            self._end = self._mark.end
            self._bytes_before -= path.stat().st_size
        else:
            self._open_next()
        self._publish(self._mark)

    def _open_next(self) -> None:
        """Go on in a new segment, which says where the durable part of this one ends. Raises OSError."""
        head = head_of_next(self.log_id, self._next_seq, self._mark)
        descriptor = create_segment(self._folder, head, self._disk)
        self._drop_descriptor()
        with self._lock:
            self._bytes_before += self._end
            self._end = HEAD_BYTES
        self._descriptor = descriptor
        self._mark = Mark(self._mark.seq, self._next_seq, HEAD_BYTES)

    def _undo(self, items: list[Waiting], descriptor: int, error: OSError) -> list[tuple[Any, Outcome]]:
        """Take back a piece of a frame that did not fit; its seqs are free again."""
        self._facts["write_failures"] += 1
        try:
            self._disk.truncate(descriptor, self._end)
        except OSError:
            return self._abandon(items, error)
        return self._refuse(items, error)

    def _refuse(self, items: list[Waiting], error: OSError) -> list[tuple[Any, Outcome]]:
        return [(token, refusal(error, self._folder)) for _, token in items]

    def _abandon(self, items: list[Waiting], error: OSError) -> list[tuple[Any, Outcome]]:
        """Never touch this segment again: after a failed fsync nobody knows what of it is on the disk.

        The seqs of the frame are skipped, since it may be found there after a crash before the next segment is made.
        """
        self._drop_descriptor()
        self._next_seq += sum(entry.n for entry, _ in items)
        return [(token, self._unknown(error)) for _, token in items]

    def _unknown(self, error: OSError) -> Unavailable:
        return Unavailable(
            f"log in {self._folder} could not be synced ({error.strerror or error}): these events may be stored or not",
            code="OUTCOME_UNKNOWN",
            path=str(self._folder),
            hint="send again with the same ids: what is stored already is recognised",
            retry_after_seconds=1,
        )

    def _deleted(self, items: list[Waiting]) -> list[tuple[Any, Outcome]]:
        """The segment has no name any more: what is written to it ends with this process."""
        detail = f"log folder {self._folder} was deleted while in use; nothing more is accepted"
        refusals = [Unavailable(detail, code="LOG_REPLACED", hint="restart the server") for _ in range(len(items) + 1)]
        with self._lock:
            self._refusal = refusals.pop()
        return [(token, refused) for (_, token), refused in zip(items, refusals, strict=True)]

    def _stop_at_defect(self, error: BaseException) -> None:
        detail = f"log writer of {self._folder} stopped: {error!r}"
        with self._lock:
            self._refusal = Unavailable(detail, code="LOG_STOPPED", hint="restart the server")
        left = [*self._in_hand, *self._queue]
        self._queue.clear()
        if left:
            self._on_durable([(token, Unavailable(detail, code="OUTCOME_UNKNOWN")) for _, token in left])

    def _drop_descriptor(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            # An error here says something about bytes that are synced already, or given up.
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _let_go(self) -> None:
        self._drop_descriptor()
        self._durable.close()
        self._release()
