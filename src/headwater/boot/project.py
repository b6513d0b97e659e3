"""One project's stores and threads, for the roles that this process has."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from headwater import config
from headwater.boot import eventlog
from headwater.boot.collector import Collector
from headwater.boot.lakecare import lakecare_of
from headwater.boot.logbook import LogBook
from headwater.boot.places import Places, warehouse_at
from headwater.boot.replays import replays_of
from headwater.boot.retention import retention_of
from headwater.collect.intake import Intake
from headwater.observe.health import Health
from headwater.observe.journal import get_journal
from headwater.process.archive import Archive, Seal, keep_trying
from headwater.process.decoders import Decoder, Inline
from headwater.process.stream import Stream
from headwater.process.supervise import Supervisor
from headwater.process.trim import keep_trimmed
from headwater.process.workers import Workers
from headwater.storage.catalog.base import Catalog
from headwater.storage.lake import open_lake
from headwater.storage.lake.base import Lake
from headwater.storage.log.base import LogReader, LogWriter
from headwater.storage.warehouse.base import Warehouse

STOP_SECONDS = 6
LAKE_BYTES_BEHIND_MAX = 512 << 20

journal = get_journal("pipeline")


class OpenProject:
    """Opening and closing block for up to seconds: use a thread. Raises what the stores raise; then nothing is open."""

    def __init__(
        self,
        name: str,
        settings: config.Settings,
        data: Path,
        roles: frozenset[str],
        catalog: Catalog,
        health: Health,
        collector: Collector,
        memory_bytes: int,
    ) -> None:
        """`memory_bytes`: what the warehouse is to hold at most, for now."""
        self.name = name
        self.memory_bytes = memory_bytes
        self.settings = settings
        self.places = Places(settings, data, name)
        self.catalog = catalog
        self.logbook = LogBook(catalog, name)
        self.health = health
        self.writer: LogWriter | None = None
        self.intake: Intake | None = None
        self.stream: Stream | None = None
        self.archive: Archive | None = None
        self.supervisor = Supervisor(self.on_state)
        self.seals = 0
        self.used_at = time.monotonic()
        self._closing = ExitStack()
        with ExitStack() as undo:
            if "process" in roles:
                self.open_stores(undo)
                eventlog.give_up_log(self)
            if "collect" in roles:
                self.writer = eventlog.open_writer(self, collector)
                undo.callback(self.writer.close)
            self.reader = self.open_reader()
            undo.callback(self.reader.close)
            if self.writer is not None:
                self.health.register(self.part("log"), vital=True)
                undo.callback(self.health.remove, self.part("log"))
                self.health.ok(self.part("log"))
                self.intake = collector.make_intake(name, self.writer, self.reader)
            if "process" in roles:
                eventlog.check_positions(self)
                self.start_consumers(undo)
                self.replays = replays_of(self, collector)
                self.retention = retention_of(self)
                self.lakecare = lakecare_of(self)
            else:
                self.logbook.check(self.reader.log_id)
            self.logbook.remember(self.reader.log_id)
            if self.writer is not None:
                self.start("trim", keep_trimmed(self.writer, catalog, name, on_dropped=self.on_dropped))
            undo.callback(self.stop_threads)
            self._closing = undo.pop_all()

    def open_stores(self, undo: ExitStack) -> None:
        room = msgspec.structs.replace(self.settings.warehouse, memory_bytes_max=self.memory_bytes)
        self.warehouse: Warehouse = warehouse_at(self.places.warehouse, room)
        undo.callback(self.warehouse.close)
        self.lake: Lake = open_lake(self.places.lake)
        undo.callback(self.lake.close)

    def open_reader(self) -> LogReader:
        return eventlog.open_reader(self)

    def start_consumers(self, undo: ExitStack) -> None:
        room = self.settings.process
        workers = self.settings.server.decode_workers
        decoder: Decoder = Workers(workers) if workers else Inline()
        undo.callback(decoder.close)
        self.stream = Stream(
            self.open_reader,
            self.warehouse,
            decoder=decoder,
            linger_seconds=room.linger_ms / 1000,
            events_per_load_max=room.events_per_load_max,
            on_stall=self.on_stall,
        )
        self.start("process", self.stream.run)
        self.start("lake", self.keep_archive)

    def keep_archive(self, stop: threading.Event) -> None:
        """An archive runs once and closes what it holds; after a failure it is made anew."""
        if self.archive is not None and not keep_trying(self.reopen_lake, stop, self.on_lake_stall):
            return
        room = self.settings.lake
        self.archive = Archive(
            self.open_reader(),
            self.lake,
            events_per_seal=room.seal_events,
            seconds_per_seal=room.seal_seconds,
            busy=self.stream_lags,
            bytes_behind_max=min(LAKE_BYTES_BEHIND_MAX, self.settings.log.bytes_max // 4),
            on_seal=self.on_seal,
            on_stall=self.on_lake_stall,
        )
        self.archive.run(stop)

    def reopen_lake(self) -> None:
        self.lake = open_lake(self.places.lake)

    def stream_lags(self) -> bool:
        """More than two loads behind the log: freshness comes before the lake."""
        assert self.stream is not None
        return self.stream.lag(self.reader.durable_seq()) > 2 * self.settings.process.events_per_load_max

    def start(self, part: str, target: Callable[[threading.Event], None]) -> None:
        self.health.register(self.part(part), needed=part == "process")
        self.supervisor.start(self.part(part), target)

    def part(self, name: str) -> str:
        return f"{self.name}.{name}"

    def on_state(self, part: str, state: str, reason: str) -> None:
        if state == "running":
            self.health.ok(part)
        elif state == "failed":
            self.health.restarted(part, reason)
            trace = self.supervisor.last_traceback.get(part)
            journal.error("part_failed", part=part, reason=reason, traceback=trace)

    def on_stall(self, reason: str | None) -> None:
        if reason is None:
            self.health.ok(self.part("process"))
        else:
            self.health.degraded(self.part("process"), "LOADING_STALLED", reason)
            journal.error("loading_stalled", project=self.name, reason=reason)

    def on_lake_stall(self, reason: str | None) -> None:
        if reason is None:
            self.health.ok(self.part("lake"))
        else:
            self.health.degraded(self.part("lake"), "LAKE_STALLED", reason)
            journal.error("lake_stalled", project=self.name, reason=reason)

    def look_at_log(self) -> None:
        """A log that has stopped takes nothing more until this process is started anew."""
        broken = self.writer.broken() if self.writer is not None else None
        if broken is not None:
            self.health.down(self.part("log"), broken.code, broken.detail)

    def on_seal(self, seal: Seal) -> None:
        self.seals += 1
        journal.info("lake_sealed", project=self.name, events=seal.events, seq=seal.position.seq, seconds=seal.seconds)
        for damage in seal.damages:
            journal.error(
                "log_damaged", project=self.name, first_seq=damage.first_seq, n=damage.n, reason=damage.reason
            )

    def on_dropped(self, segments: int) -> None:
        journal.info("log_trimmed", project=self.name, segments=segments)

    def pipeline(self) -> Mapping[str, Any]:
        """What the steps did since the start, for people and for /metrics."""
        if self.stream is None:
            return {}
        gauges = self.stream.gauges
        durable = self.reader.durable_seq()
        return {
            "lag": self.stream.lag(durable),
            "lakeLag": max(0, durable - (self.archive.sealed_seq if self.archive else 0)),
            "durableSeq": durable,
            "loadedSeq": gauges.loaded_seq,
            "loads": gauges.loads,
            "events": gauges.events,
            "outcomes": dict(gauges.outcomes),
            "seconds": {stage: round(seconds, 6) for stage, seconds in gauges.seconds.items()},
            "rejects": [{"step": step, "code": code, "count": n} for (step, code), n in gauges.rejects.items()],
            "retries": gauges.retries,
            "halved": gauges.halved,
            "restarts": dict(self.supervisor.restarts),
        }

    def watermark_us(self) -> int | None:
        return (self.stream.watermark.us or None) if self.stream is not None else None

    def store_facts(self) -> Mapping[str, Any]:
        return self.warehouse.facts() if self.stream is not None else {}

    def lake_facts(self) -> Mapping[str, int]:
        return self.lake.stats() if self.stream is not None else {}

    def commit_buckets(self) -> Sequence[int]:
        return self.stream.gauges.commit_buckets if self.stream is not None else []

    def is_idle(self) -> bool:
        """Nothing in flight and nothing handed over."""
        if self.stream is None:
            return False
        queued = self.writer.queued()[0] if self.writer is not None else 0
        return queued == 0 and self.stream.lag(self.reader.durable_seq()) == 0

    def stop_threads(self) -> None:
        late = self.supervisor.stop(STOP_SECONDS)
        if late:
            journal.error("threads_still_running", project=self.name, threads=late)
        for part in self.supervisor.restarts:
            self.health.remove(part)

    def close(self) -> None:
        """Threads end, what was handed to the log becomes durable and is answered, stores close."""
        self._closing.close()
