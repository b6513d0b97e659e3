"""The collector of this process: one handler per way in, one intake per open project, the same limits for all."""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol

from headwater import config
from headwater.collect.bounds import Bounds
from headwater.collect.counts import Counts
from headwater.collect.intake import Acks, Intake
from headwater.collect.limit import InFlight, Quota, Rates
from headwater.collect.receive import Receiver
from headwater.collect.sources import Labels
from headwater.domain.errors import Unavailable
from headwater.domain.events import MINUTE_US
from headwater.domain.networks import networks_of
from headwater.domain.schemas import Rules, rules_from
from headwater.observe.health import Health
from headwater.observe.journal import get_journal
from headwater.security.keys import Access, Authenticator
from headwater.security.projects import settings_of
from headwater.storage.catalog.base import Catalog, every
from headwater.storage.log.base import LogReader, LogWriter

DISK_EVERY_SECONDS = 1.0

journal = get_journal("application")


class Collecting(Protocol):
    """What the collector needs of an open project."""

    name: str
    intake: Intake | None


class Collector:
    def __init__(
        self,
        settings: config.Settings,
        data: Path,
        authenticator: Authenticator,
        catalog: Catalog,
        find_intake: Callable[[str], Intake | Awaitable[Intake]],
        on_refused: Callable[[str, int, Mapping[str, int]], None],
        health: Health,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        room = settings.collect
        self.settings = settings
        self.data = data
        self.authenticator = authenticator
        self.catalog = catalog
        self.health = health
        self.find_intake = find_intake
        self.on_refused = on_refused
        self.acks = Acks(loop)
        self.counts = Counts()
        self.rates = Rates(room.events_per_second, room.events_burst, room.in_bytes_per_second, room.batch_events_max)
        self.in_flight = InFlight(room.inflight_bytes_max)
        self.quota = Quota(room.quarantine_events_per_day)
        self.trusted = networks_of(settings.server.trusted_proxies)
        self.receivers: list[Receiver] = []
        self.refusing: Unavailable | None = None
        self._disk_at = 0.0
        health.register("disk")
        health.register("clock", needed=False)
        health.ok("disk")
        health.ok("clock")

    def receiver(self, *, local: bool) -> Receiver:
        """The handler of one way in: the port asks for keys, the data folder's own socket does not."""
        made = Receiver(
            self.local_access if local else self.authenticator.access,
            self.intake_of,
            rates=self.rates,
            in_flight=self.in_flight,
            counts=self.counts,
            bounds=self.bounds(),
            trusted_proxies=self.trusted,
            body_seconds_max=self.settings.server.body_seconds_max,
            on_refused=self.on_refused,
        )
        self.receivers.append(made)
        return made

    def bounds(self) -> Bounds:
        room = self.settings.collect
        return Bounds(
            body_bytes_max=room.body_bytes_max,
            expanded_bytes_max=room.expanded_bytes_max,
            batch_events_max=room.batch_events_max,
            event_bytes_max=room.event_bytes_max,
            attributes_max=room.attributes_max,
            depth_max=room.depth_max,
            string_bytes_max=room.string_bytes_max,
        )

    def local_access(
        self, authorization: str | None, key: str | None, client: str | None, project: str | None
    ) -> Access:
        return self.authenticator.local(project)

    def intake_of(self, project: str) -> Intake | Awaitable[Intake]:
        """Raises Unavailable while the disk has no room to spare."""
        if self.refusing is not None:
            raise self.refusing
        return self.find_intake(project)

    def make_intake(self, project: str, writer: LogWriter, reader: LogReader) -> Intake:
        """The way into a log that was just opened. Blocks while its headers are counted."""
        held = reader.headers()
        sources = {source for segment in (*held, *self.catalog.trimmed(project)) for _, source in segment.counts}
        minute_last = max((minute for segment in held for minute, _ in segment.counts), default=0)
        return Intake(
            writer,
            rules=self.rules_of(project),
            labels=Labels(sources, self.settings.collect.sources_max),
            quota=self.quota,
            lag=lambda: writer.durable_seq() - reader.reported("process"),
            lag_events_soft=self.settings.log.lag_events_soft,
            lag_events_hard=self.settings.log.lag_events_hard,
            ack_wait_seconds=self.settings.collect.ack_wait_seconds,
            # Headers know minutes: after a restart times may go back within the last one, never further.
            received_us_last=minute_last * MINUTE_US,
        )

    def rules_of(self, project: str) -> Rules:
        revision = self.catalog.revision()
        bodies = [stored.body for stored in every(self.catalog, "schema", project)]
        return rules_from(bodies, settings_of(self.catalog, project).unknown_events, revision)

    def refresh(self, projects: Mapping[str, Collecting]) -> None:
        """The catalog has changed: every intake judges by the schemas of now."""
        for project in list(projects.values()):
            if project.intake is not None:
                project.intake.rules = self.rules_of(project.name)

    def look(self, projects: Mapping[str, Collecting]) -> None:
        """What can't be seen from a request: free disk, a clock that was set back."""
        now = time.monotonic()
        if now - self._disk_at >= DISK_EVERY_SECONDS:
            self._disk_at = now
            self.look_at_disk(self.settings.log.free_bytes_min)
        behind = max((p.intake.clock_behind_us() for p in projects.values() if p.intake is not None), default=0)
        if behind > 1_000_000:
            detail = f"the clock is {behind / 1e6:.0f} s behind the last received event; received times stand still"
            self.health.degraded("clock", "CLOCK_SET_BACK", detail)
        else:
            self.health.ok("clock")

    def look_at_disk(self, free_bytes_min: int) -> None:
        free = shutil.disk_usage(self.data).free
        if free >= free_bytes_min:
            if self.refusing is not None:
                journal.info("disk_has_room_again", free_bytes=free)
            self.refusing = None
            self.health.ok("disk")
            return
        detail = f"{free} bytes are free on the disk of the data folder, at least {free_bytes_min} are kept"
        if self.refusing is None:
            journal.error("disk_full", free_bytes=free, free_bytes_min=free_bytes_min)
        self.refusing = Unavailable(
            detail, code="DISK_FULL", limit=free_bytes_min, hint="free some space", retry_after_seconds=10
        )
        self.health.down("disk", "DISK_FULL", detail)

    def close(self) -> None:
        for receiver in self.receivers:
            receiver.close()
