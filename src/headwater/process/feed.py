"""Gathers the frames of one block from the log: enough to be worth a load, never more than fits in memory."""

import threading

from headwater.storage.log.base import Damage, Frame, LogReader

BYTES_MAX = 32 * 1024 * 1024
"""Of payloads in one block. Rows, columns and Arrow tables of a block take some three times that."""


class Feed:
    def __init__(self, reader: LogReader, after_seq: int, *, events_max: int, linger_seconds: float) -> None:
        self.reader = reader
        self.after_seq = after_seq
        """What is given out goes on after this."""
        self.events_max = events_max
        self.linger_seconds = linger_seconds
        self._carried: Frame | Damage | None = None

    def next(self, wait_seconds: float, halt: threading.Event) -> list[Frame | Damage]:
        """Frames of up to `events_max` events and BYTES_MAX bytes, but at least one; none when the wait ends first.

        Where little has come yet it lingers once, since a load costs 5 ms however small: 200 events in a load instead
        of 20 are a fifth of the work, and nobody sees 50 ms.
        """
        frames = [self._carried] if self._carried else self._read_one(self.after_seq, wait_seconds)
        self._carried = None
        if not frames:
            return []
        events, size = frames[0].n, size_of(frames[0])
        if self.reader.durable_seq() - self.after_seq < self.events_max:
            halt.wait(self.linger_seconds)
        while events < self.events_max and size < BYTES_MAX:
            following = self._read_one(frames[-1].last_seq, 0.0)
            if not following:
                break
            events += following[0].n
            size += size_of(following[0])
            if events > self.events_max or size > BYTES_MAX:
                self._carried = following[0]
                break
            frames += following
        self.after_seq = frames[-1].last_seq
        return frames

    def _read_one(self, after_seq: int, wait_seconds: float) -> list[Frame | Damage]:
        # One frame a call: a reader limits events only, and 20,000 of them may be 20 GB.
        return list(self.reader.read(after_seq, 1, wait_seconds))


def size_of(frame: Frame | Damage) -> int:
    return sum(map(len, frame.payloads)) if isinstance(frame, Frame) else 0
