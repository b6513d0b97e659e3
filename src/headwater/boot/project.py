"""One project's stores and threads, for the roles that this process has."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from headwater import config
from headwater.boot.collector import Collector
from headwater.boot.lakecare import lakecare_of
from headwater.boot.logbook import LogBook
from headwater.boot.replays import replays_of
from headwater.boot.retention import retention_of
from headwater.collect.intake import Intake
from headwater.domain.errors import Damaged, Unavailable
from headwater.observe.health import Health
from headwater.observe.journal import get_journal
from headwater.process.archive import Archive, Seal, keep_trying
from headwater.process.decoders import Decoder, Inline
from headwater.process.positions import Held, check, first_of_new_log
from headwater.process.rebuild import fill
from headwater.process.stream import Stream
from headwater.process.supervise import Supervisor
from headwater.process.trim import keep_trimmed
from headwater.process.workers import Workers
from headwater.storage.catalog.base import Catalog
from headwater.storage.lake import open_lake
from headwater.storage.lake.base import Lake
from headwater.storage.log import open_log_reader, open_log_writer, set_log_aside
from headwater.storage.log.base import LogReader, LogWriter, Position
from headwater.storage.warehouse import open_warehouse
from headwater.storage.warehouse.base import Warehouse

STOP_SECONDS = 6
CONSUMERS = ("process", "lake")
LOG_HELD_SECONDS = 0.5
LAKE_BYTES_BEHIND_MAX = 512 << 20

journal = get_journal("pipeline")


class Places:
    """Where a project's stores are: in the data folder unless the settings say otherwise."""

    def __init__(self, settings: config.Settings, data: Path, project: str) -> None:
        folder = (data / "projects" / project).absolute()
        self.log = placed(settings.log.url, f"file://{folder}/log", project)
        self.lake = placed(settings.lake.url, f"file://{folder}/lake", project)
        self.warehouse = placed(settings.warehouse.url, f"duckdb://{folder}/warehouse/warehouse.duckdb", project)


def placed(url: str, default: str, project: str) -> str:
    """A store's URL; `{project}` in it stands for the project's name."""
    return url.replace("{project}", project) if url else default


def warehouse_at(url: str, room: config.Warehouse) -> Warehouse:
    """Opened as the settings say."""
    return open_warehouse(
        url,
        memory_bytes_max=room.memory_bytes_max,
        threads=room.threads,
        seal_rows=room.seal_rows,
        seal_rows_min=room.seal_rows_min,
        seal_age_seconds=room.seal_age_seconds,
        wal_bytes_max=room.wal_bytes_max,
    )


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
                self.give_up_log()
            if "collect" in roles:
                self.open_writer(undo, collector)
            self.reader = self.open_reader()
            undo.callback(self.reader.close)
            if self.writer is not None:
                self.health.register(self.part("log"), vital=True)
                undo.callback(self.health.remove, self.part("log"))
                self.health.ok(self.part("log"))
                self.intake = collector.make_intake(name, self.writer, self.reader)
            if "process" in roles:
                self.check_positions()
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

    def open_writer(self, undo: ExitStack, collector: Collector) -> None:
        room = self.settings.log
        open_writer = partial(
            open_log_writer,
            self.places.log,
            collector.acks.on_durable,
            **self.new_log(),
            consumers=CONSUMERS,
            segment_bytes=room.segment_bytes,
            bytes_max=room.bytes_max,
            age_hours_max=room.age_hours_max,
            queue_bytes_max=room.queue_bytes_max,
        )
        try:
            self.writer = open_writer()
        except Unavailable as error:
            if error.code != "LOG_HELD":
                raise
            time.sleep(LOG_HELD_SECONDS)  # the core is just making it
            self.writer = open_writer()
        undo.callback(self.writer.close)

    def new_log(self) -> dict[str, Any]:
        """May a log be made here, and what is its first number?"""
        positions = self.positions()
        never = self.logbook.known() is None and not any(positions)
        # Where a new one goes on is known by the stores alone: a collector on its own makes none.
        wanted = self.settings.server.new_log and hasattr(self, "warehouse")
        return {"make": never or wanted, "first_seq_min": first_of_new_log(*positions)}

    def positions(self) -> tuple[Position | None, Position | None]:
        """Of warehouse and lake, where this process has them."""
        if not hasattr(self, "warehouse"):
            return None, None
        return self.warehouse.position(), self.lake.position()

    def give_up_log(self) -> None:
        """On a person's word, a log that does not belong to the stores makes room for a new one."""
        if not self.settings.server.new_log:
            return
        try:
            writer = open_log_writer(self.places.log, lambda outcomes: None, consumers=CONSUMERS, make=False)
        except Damaged as error:
            if error.code == "LOG_MIXED":
                journal.warning("log_set_aside", project=self.name, folder=set_log_aside(self.places.log))
            elif error.code != "LOG_MISSING":
                raise
            return
        reader = writer.reader()
        held = Held(reader.log_id, reader.first_seq(), reader.durable_seq())
        reader.close()
        writer.close()
        try:
            check(held, *self.positions())
        except Damaged as error:
            if error.code in ("OTHER_LOG", "AHEAD_OF_LOG"):
                aside = set_log_aside(self.places.log)
                journal.warning("log_set_aside", project=self.name, folder=aside, reason=error.detail)

    def keep_received(self) -> None:
        """The ledger goes on over a change of logs, and where a person has given up a part of one."""
        if self.settings.server.new_log or self.logbook.known() != self.reader.log_id:
            events = self.logbook.keep_received(self.warehouse, self.reader)
            if events:
                journal.warning("received_counts_restored", project=self.name, events=events)

    def open_reader(self) -> LogReader:
        if self.writer is not None:
            return self.writer.reader()
        try:
            return open_log_reader(self.places.log)
        except Unavailable as error:
            if error.code != "NO_LOG":
                raise
        self.make_log()
        return open_log_reader(self.places.log)

    def make_log(self) -> None:
        """The core may start before the collector: the log is made by whoever comes first."""
        try:
            open_log_writer(self.places.log, lambda outcomes: None, **self.new_log(), consumers=CONSUMERS).close()
        except Unavailable as error:
            if error.code != "LOG_HELD":
                raise

    def check_positions(self) -> None:
        """Raises Damaged, naming the cure, where log, lake and warehouse do not belong together."""
        held = Held(self.reader.log_id, self.reader.first_seq(), self.reader.durable_seq())
        server = self.settings.server
        positions = self.warehouse.position(), self.lake.position()
        start = check(held, *positions, new_log=server.new_log, lake_gap=server.lake_gap)
        given_up = max(start.missing_in_warehouse, start.missing_in_lake)
        if given_up:
            journal.error("events_given_up", project=self.name, events=given_up, reason="--new-log or --lake-gap")
        if start.fill:
            journal.warning("warehouse_filled_from_lake", project=self.name)
            fill(self.lake, self.open_reader, self.warehouse)
        self.keep_received()
        if start.missing_in_warehouse:
            lost = self.logbook.count_lost(self.warehouse, self.reader)
            journal.error("events_lost", project=self.name, events=lost, reason="--new-log")

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
