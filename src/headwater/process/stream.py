"""Log → warehouse: a thread that reads, decodes, loads and keeps house, block by block.

The log is read as late as can be, when the block before is stored: what is read sooner only waits, and what comes
meanwhile waits for one more load (20,000 events a second on two busy cores: visible after 155 instead of 125 ms, p99
345 instead of 270). Only where a whole block lies ready it is decoded beside the load of the one before.

The position comes from the warehouse at each start and is reported to the log only after the commit, so a crash
anywhere repeats what was not committed and nothing else. What data breaks goes to quarantine; what the machine refuses
is tried again until it can be done.
"""

import threading
from collections.abc import Callable, Sequence

from headwater.domain.errors import BadInput, Conflict, Damaged, Unavailable
from headwater.domain.events import MINUTE_US
from headwater.process.decoders import Decoder, Inline
from headwater.process.feed import Feed
from headwater.process.gauges import StreamGauges
from headwater.process.poison import LOAD_FAILED, without_poison
from headwater.process.watermark import Watermark
from headwater.storage.crash import crash_point
from headwater.storage.log.base import Damage, Frame, LogReader
from headwater.storage.warehouse.base import Block, Loaded, Warehouse

CONSUMER = "process"
IDLE_SECONDS = 0.25
"""How long it waits for something to do before it looks whether it is to stop."""
RETRY_SECONDS_MIN = 0.1
RETRY_SECONDS_MAX = 30.0
DATA_FAILURES_MAX = 5
"""Loads of one block that fail for its data, halved meanwhile, before the stream gives up and says so."""


class Stream:
    """One project's stream. `run` is a supervisor's target: it raises what it can't deal with, to be called again."""

    def __init__(
        self,
        open_reader: Callable[[], LogReader],
        warehouse: Warehouse,
        *,
        decoder: Decoder | None = None,
        linger_seconds: float = 0.05,
        events_per_load_max: int = 20_000,
        skip_missing: bool = False,
        on_stall: Callable[[str | None], None] = lambda reason: None,
        on_loaded: Callable[[Block, Loaded], None] = lambda block, loaded: None,
    ) -> None:
        """`on_stall` is told why loading waits for the machine, and None when it goes on; `on_loaded` each commit.

        `skip_missing`: begin at the log's first frame even where the warehouse ends before it (a person's word).
        """
        self.open_reader = open_reader
        self.warehouse = warehouse
        self.decoder: Decoder = decoder or Inline()
        self.linger_seconds = linger_seconds
        self.events_per_load_max = events_per_load_max
        self.skip_missing = skip_missing
        self.on_stall = on_stall
        self.on_loaded = on_loaded
        self.gauges = StreamGauges()
        self.watermark = Watermark()
        self._begin_seq = 0
        """Where the next block to be submitted begins."""

    def run(self, stop: threading.Event) -> None:
        """Until `stop`: then the load under way is finished, and no other begun."""
        reader = self.open_reader()
        try:
            start = start_of(self.warehouse, reader)
            self._done(reader, start)
            self._take_all(reader, start, stop)
        finally:
            self.decoder.forget()
            reader.close()

    def _take_all(self, reader: LogReader, after_seq: int, stop: threading.Event) -> None:
        decoder = self.decoder
        self._begin_seq = after_seq
        if self.skip_missing:
            after_seq = max(after_seq, reader.first_seq() - 1)
        feed = Feed(reader, after_seq, events_max=self.events_per_load_max, linger_seconds=self.linger_seconds)
        while not stop.is_set():
            if not decoder.pending():
                self._submit(feed, IDLE_SECONDS, stop)
            if decoder.pending():
                block, stats = decoder.take()
                while decoder.pending() < decoder.capacity and feed.is_full() and self._submit(feed, 0.0, stop):
                    pass
                decoder.begin()
                self.gauges.decoded(stats)
                if not self._load_one(reader, block, stop):
                    return
            self.warehouse.maintain()

    def _submit(self, feed: Feed, wait_seconds: float, stop: threading.Event) -> bool:
        """False when nothing came."""
        self.watermark.sample(feed.reader.durable_seq)
        if not (frames := feed.next(wait_seconds, stop)):
            return False
        if not self.gauges.read_seq:
            self.watermark.at_least(_first_minute(frames) * MINUTE_US)
        self.decoder.submit(frames, self._begin_seq, feed.reader.log_id)
        self._begin_seq = self.gauges.read_seq = feed.after_seq
        return True

    def _load_one(self, reader: LogReader, block: Block, stop: threading.Event) -> bool:
        """False when it was not loaded, for it is time to stop."""
        loaded = self._load(block, stop)
        if loaded is None:
            return False
        crash_point("process.before_report")
        self._done(reader, block.position.seq)
        self.on_loaded(block, loaded)
        return True

    def _load(self, block: Block, stop: threading.Event) -> Loaded | None:
        """Load until it is done; None when asked to stop before it could be."""
        wait_seconds = RETRY_SECONDS_MIN
        failures = 0
        stalled = False
        while True:
            try:
                loaded = self.warehouse.load(block)
            except Conflict:
                raise
            except BadInput:
                failures += 1
                if failures > DATA_FAILURES_MAX:
                    raise
                if failures >= 2:
                    block, moved = without_poison(block, self.warehouse, self.open_reader, stop)
                    self.gauges.halved += 1
                    self.gauges.rejects["load", LOAD_FAILED] += moved
            except Unavailable as error:
                stalled = True
                self.gauges.retries += 1
                self.on_stall(f"{error.code}: {error}")
                if stop.wait(wait_seconds):
                    return None
                wait_seconds = min(wait_seconds * 2, RETRY_SECONDS_MAX)
            else:
                if stalled:
                    self.on_stall(None)
                self.gauges.loaded(loaded)
                return loaded

    def _done(self, reader: LogReader, seq: int) -> None:
        reader.report(CONSUMER, seq)
        self.gauges.loaded_seq = seq
        self.watermark.loaded(seq)

    def lag(self, durable_seq: int) -> int:
        """Events of the log that are not in the warehouse yet."""
        return max(0, durable_seq - self.gauges.loaded_seq)


def start_of(warehouse: Warehouse, reader: LogReader) -> int:
    """The seq after which to read. Raises Damaged when log and warehouse do not belong together."""
    position = warehouse.position()
    if position is None:
        return 0
    # A log that was begun anew goes on above the highest seq that was stored from the one before it.
    if position.log_id != reader.log_id and position.seq >= reader.first_seq():
        raise Damaged(
            f"the warehouse stands at {position.seq} of another log, this one begins at {reader.first_seq()}; "
            "put the old log back, or start once with --new-log",
            code="OTHER_LOG",
        )
    return position.seq


def _first_minute(frames: Sequence[Frame | Damage]) -> int:
    """What was received before this minute came before these frames, and is loaded when they are the first."""
    return min((minute for frame in frames for minute, _ in frame.counts), default=0)
