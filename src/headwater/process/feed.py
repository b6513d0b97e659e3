"""Gathers the frames of one block from the log: enough to be worth a load, never more than fits in memory."""

import threading
from collections.abc import Sequence
from itertools import takewhile
from time import monotonic

from headwater.storage.log.base import Damage, Frame, LogReader

BYTES_MAX = 32 << 20
"""Of payloads in one block. Rows, columns and Arrow tables of a block take some three times that."""


class Feed:
    def __init__(self, reader: LogReader, after_seq: int, *, events_max: int, linger_seconds: float) -> None:
        self.reader = reader
        self.after_seq = after_seq
        """What is given out goes on after this."""
        self.events_max = events_max
        self.linger_seconds = linger_seconds
        self._given_at = -linger_seconds

    def is_full(self) -> bool:
        """A whole block waits: nothing is won by waiting for more. 5 µs."""
        return self.reader.durable_seq() - self.after_seq >= self.events_max

    def next(self, wait_seconds: float, halt: threading.Event) -> list[Frame | Damage]:
        """Frames of up to `events_max` events and BYTES_MAX bytes, but at least one; none when the wait ends first.

        What comes after a pause is given at once. Then, while little comes, once every `linger_seconds`: a load costs
        5 ms however small, and 200 events in a load instead of 20 are a fifth of the work.
        """
        if (rest := self._given_at + self.linger_seconds - monotonic()) > 0 and not self.is_full():
            halt.wait(rest)
        frames = of_one_kind(self.reader.read(self.after_seq, self.events_max, wait_seconds, BYTES_MAX))
        if frames:
            self.after_seq = frames[-1].last_seq
            self._given_at = monotonic()
        return frames


def of_one_kind(frames: Sequence[Frame | Damage]) -> list[Frame | Damage]:
    """The first ones, up to where events and replays meet: so that loading events pays nothing for replays."""
    kinds = [frame.kind for frame in frames if isinstance(frame, Frame)]
    if len(set(kinds)) < 2:
        return list(frames)
    return [*takewhile(lambda frame: isinstance(frame, Damage) or frame.kind == kinds[0], frames)]
