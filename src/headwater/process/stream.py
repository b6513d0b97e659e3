"""Log → warehouse: a thread that reads and decodes, a queue of one block, a thread that loads and keeps house.

The position comes from the warehouse at each start and is reported to the log only after the commit, so a crash
anywhere repeats what was not committed and nothing else. What data breaks goes to quarantine; what the machine refuses
is tried again until it can be done.
"""

import queue
import threading
from collections.abc import Callable, Sequence

import msgspec

from headwater.domain.errors import BadInput, Conflict, Damaged, Unavailable
from headwater.domain.events import MINUTE_US
from headwater.process.decoders import Decoder, Inline
from headwater.process.feed import Feed
from headwater.process.gauges import StreamGauges
from headwater.process.pipeline import StepStats
from headwater.process.poison import LOAD_FAILED, without_poison
from headwater.process.watermark import Watermark
from headwater.storage.crash import crash_point
from headwater.storage.log.base import Damage, Frame, LogReader
from headwater.storage.warehouse.base import Block, Loaded, Warehouse

CONSUMER = "process"
IDLE_SECONDS = 0.25
"""How long each thread waits for something to do before it looks whether it is to stop."""
RETRY_SECONDS_MIN = 0.1
RETRY_SECONDS_MAX = 30.0
DATA_FAILURES_MAX = 5
"""Loads of one block that fail for its data, halved meanwhile, before the stream gives up and says so."""


class _Item(msgspec.Struct, frozen=True):
    block: Block
    stats: StepStats


class Stream:
    """One project's stream. `run` is a supervisor's target: it raises when a thread of it dies, to be called again."""

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

    def run(self, stop: threading.Event) -> None:
        """Until `stop`: then the load under way is finished, and no other begun."""
        reader, reporter = self.open_reader(), self.open_reader()
        halt = threading.Event()
        blocks: queue.Queue[_Item | Exception] = queue.Queue(1)
        after_seq = start_of(self.warehouse, reader)
        self._done(reporter, after_seq)
        decoding = threading.Thread(
            target=self._decode, args=(reader, after_seq, blocks, stop, halt), name="decode", daemon=True
        )
        decoding.start()
        try:
            self._load_all(reporter, blocks, stop)
        finally:
            halt.set()
            decoding.join()
            self.decoder.forget()
            reader.close()
            reporter.close()

    def _decode(
        self,
        reader: LogReader,
        after_seq: int,
        blocks: "queue.Queue[_Item | Exception]",
        stop: threading.Event,
        halt: threading.Event,
    ) -> None:
        decoder = self.decoder
        begin = after_seq
        if self.skip_missing:
            after_seq = max(after_seq, reader.first_seq() - 1)
        feed = Feed(reader, after_seq, events_max=self.events_per_load_max, linger_seconds=self.linger_seconds)

        def stopped() -> bool:
            return stop.is_set() or halt.is_set()

        try:
            while not stopped():
                self.watermark.sample(reader.durable_seq)
                frames = feed.next(0.0 if decoder.pending() else IDLE_SECONDS, halt)
                if frames:
                    if not self.gauges.read_seq:
                        self.watermark.at_least(_first_minute(frames) * MINUTE_US)
                    decoder.submit(frames, begin, reader.log_id)
                    begin = self.gauges.read_seq = feed.after_seq
                while decoder.pending() and (decoder.pending() >= decoder.capacity or not frames) and not stopped():
                    _put(blocks, _Item(*decoder.take()), stopped)
        except Exception as error:  # whatever it is, the loading thread raises it and the supervisor tells it
            _put(blocks, error, stopped)

    def _load_all(self, reporter: LogReader, blocks: "queue.Queue[_Item | Exception]", stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                item = blocks.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                self.warehouse.maintain()
                continue
            if isinstance(item, Exception):
                raise item
            self.gauges.decoded(item.stats)
            loaded = self._load(item.block, stop)
            if loaded is None:
                return
            crash_point("process.before_report")
            self._done(reporter, item.block.position.seq)
            self.on_loaded(item.block, loaded)
            self.warehouse.maintain()

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

    def _done(self, reporter: LogReader, seq: int) -> None:
        reporter.report(CONSUMER, seq)
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


def _put(blocks: "queue.Queue[_Item | Exception]", item: "_Item | Exception", stopped: Callable[[], bool]) -> None:
    while not stopped():
        try:
            blocks.put(item, timeout=IDLE_SECONDS)
            return
        except queue.Full:
            continue
