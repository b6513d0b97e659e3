"""Everything that runs in one process: the catalog, the open projects, the collector, the routes, the gauges."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Mapping
from pathlib import Path

from headwater import config
from headwater.api.front import Front
from headwater.api.routes import HEALTH, ROUTES, build_app
from headwater.api.site import Lane, Project, Site
from headwater.boot.balance import Balances
from headwater.boot.collector import Collector
from headwater.boot.doctor import JOB as DOCTOR
from headwater.boot.doctor import doctor_kind, patient_of
from headwater.boot.gauges import count_request, register_collect, register_projects
from headwater.boot.jobs import JobRoom
from headwater.boot.lakecare import LakeRounds, lake_kinds
from headwater.boot.locks import roles_of
from headwater.boot.memory import Memory
from headwater.boot.project import OpenProject
from headwater.boot.renewal import JOB as RENEWAL
from headwater.boot.renewal import renewal_kind, renewal_of
from headwater.boot.replays import JOB, replay_kind
from headwater.boot.retention import RECLAIM, RETENTION, Nightly, reclaim, reclaim_kind, retention_kind
from headwater.collect.intake import Intake
from headwater.domain.errors import HeadwaterError, NotFound, Overloaded, Unavailable
from headwater.domain.metrics import BUILT_IN
from headwater.domain.networks import address_of, is_within, networks_of
from headwater.domain.projects import DEFAULT_PROJECT
from headwater.engine.query.parse import parse_query
from headwater.engine.query.run import answer
from headwater.jobs.base import Kind
from headwater.observe.gauges import exposition
from headwater.observe.health import Health
from headwater.observe.journal import get_journal
from headwater.observe.resources import watch_loop_lag, watch_resources
from headwater.process.doctor.base import Patient
from headwater.process.doctor.checks import examine
from headwater.security.keys import Authenticator, first_keys
from headwater.security.projects import list_projects
from headwater.storage.catalog import open_catalog

REFUSED_EVERY_SECONDS = 1.0

journal = get_journal("application")


class House:
    def __init__(self, settings: config.Settings, data: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.settings = settings
        self.data = data
        self.loop = loop
        self.roles = roles_of(settings.server.role)
        self.health = Health()
        self.memory = Memory(settings.warehouse.memory_bytes_max)
        self.projects: dict[str, OpenProject] = {}
        self.views: dict[str, Project] = {}
        self.first_keys: dict[str, str] = {}
        self._opening: dict[str, asyncio.Task[OpenProject]] = {}
        self._refused: dict[str, Counter[tuple[int, str]]] = {}
        self._refused_at = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Open the catalog and every project; raises what keeps the service from running."""
        self.catalog = open_catalog(self.settings.catalog.url or f"sqlite://{self.data.absolute()}/catalog.sqlite")
        self.first_keys = first_keys(self.catalog, self.data)
        self.authenticator = Authenticator(self.catalog, open=self.settings.server.open)
        self.metrics_networks = networks_of(self.settings.observe.metrics_allow)
        self.health.register("catalog")
        self.collector = Collector(
            self.settings,
            self.data,
            self.authenticator,
            self.catalog,
            self.intake_of,
            self.refuse,
            self.health,
            self.loop,
        )
        self.balances = Balances(self.health, self.catalog, self.settings.observe.ledger_seconds)
        self.jobs = JobRoom(self.settings.jobs, self.catalog, self.health, self.job_kinds())
        self.nightly = Nightly(self.catalog, self.jobs.queue)
        self.lake_rounds = LakeRounds(self.catalog, self.jobs.queue)
        self.site = self.make_site()
        self.app = build_app(self.site, ROUTES if "api" in self.roles else HEALTH)
        watch_resources(self.data)
        register_collect(self.collector.counts)
        register_projects(self.projects, self.balances.events)
        exposition()
        self._tasks.append(asyncio.create_task(watch_loop_lag()))
        await self.opened(DEFAULT_PROJECT)
        await self.open_others()
        if "process" in self.roles:
            self.jobs.start()
            await asyncio.to_thread(self.nightly.look)
        self._tasks.append(asyncio.create_task(self.balances.watch(self.views)))

    def make_site(self) -> Site:
        return Site(
            catalog=self.catalog,
            authenticator=self.authenticator,
            open_project=self.project,
            health=self.health,
            exposition=exposition,
            metrics_allowed=self.metrics_allowed,
            query_seconds_max=self.settings.engine.seconds_max,
            points_max=self.settings.engine.points_max,
            unknown_events_default=self.settings.collect.unknown_events,
            lane=Lane(self.settings.warehouse.threads),
            jobs=self.jobs.queue,
            examine=lambda name: examine(self.patient_of(name), deep=False),
        )

    def job_kinds(self) -> dict[str, Kind]:
        """What can be run as a job here, by name; their functions get at a project's stores by `project_of_job`."""
        return {
            JOB: replay_kind(lambda job: self.project_of_job(job.project).replays.run(job)),
            RETENTION: retention_kind(lambda job: self.project_of_job(job.project).retention.run(job)),
            RECLAIM: reclaim_kind(lambda job: reclaim(self.project_of_job(job.project).warehouse, job)),
            DOCTOR: doctor_kind(self.patient_of),
            **lake_kinds(lambda name: self.project_of_job(name).lakecare),
            RENEWAL: renewal_kind(lambda job: renewal_of(self.project_of_job(job.project)).run(job)),
        }

    def patient_of(self, name: str) -> Patient:
        return patient_of(self.project_of_job(name), self.data, self.catalog, self.health)

    def project_of_job(self, name: str) -> OpenProject:
        """The project, opened where it is not; blocks. Raises as `opened`."""
        project = asyncio.run_coroutine_threadsafe(self.opened(name), self.loop).result()
        project.used_at = time.monotonic()
        return project

    def warm_up(self) -> None:
        if "api" in self.roles:
            self._tasks.append(asyncio.create_task(asyncio.to_thread(ask_first, self.views[DEFAULT_PROJECT])))

    def front(self, *, local: bool) -> Front:
        """The application for the TCP port, or for the data folder's own socket."""
        receive = self.collector.receiver(local=local) if "collect" in self.roles else None
        return Front(receive, self.app, open_to_all=self.settings.server.open, local=local, count=count_request)

    def ready(self, address: str) -> None:
        journal.info("ready", address=address, role=self.settings.server.role, data=str(self.data))

    async def opened(self, name: str) -> OpenProject:
        """The project, opened at first use. Raises NotFound, Overloaded (TOO_MANY_PROJECTS), what its stores raise."""
        project = self.projects.get(name)
        if project is not None:
            return project
        if name not in self._opening:
            self._opening[name] = asyncio.create_task(self._open(name))
        return await asyncio.shield(self._opening[name])

    async def _open(self, name: str) -> OpenProject:
        try:
            if self.catalog.get("project", "", name) is None:
                raise NotFound(f"no project {name!r}", code="PROJECT_NOT_FOUND", value=name)
            if len(self.projects) >= self.settings.projects.open_max:
                raise Overloaded(
                    f"{len(self.projects)} projects are open, which is the limit",
                    code="TOO_MANY_PROJECTS",
                    limit=self.settings.projects.open_max,
                    hint="raise projects.open_max, or wait until one has been idle",
                    retry_after_seconds=60,
                )
            await self.spread_memory()
            memory_bytes = self.memory.share(len(self.projects) + len(self._opening))
            project = await asyncio.to_thread(
                OpenProject,
                name,
                self.settings,
                self.data,
                self.roles,
                self.catalog,
                self.health,
                self.collector,
                memory_bytes,
            )
            self.projects[name] = project
            if "api" in self.roles:
                self.views[name] = Project(
                    name=name,
                    reader=project.reader,
                    warehouse=project.warehouse,
                    lake=lambda: project.lake,
                    pipeline=project.pipeline,
                    watermark_us=project.watermark_us,
                    replays=project.replays,
                    retention=project.retention,
                    lakecare=project.lakecare,
                )
            return project
        finally:
            self._opening.pop(name, None)

    async def open_others(self) -> None:
        """Every project that is not open yet; one that can't be opened is said, and keeps nobody else from working."""
        names = [project.name for project in list_projects(self.catalog)][: self.settings.projects.open_max]
        missing = [name for name in names if name not in self.projects]
        ended = await asyncio.gather(*(self.opened(name) for name in missing), return_exceptions=True)
        for name, error in zip(missing, ended, strict=True):
            part = f"{name}.project"
            if isinstance(error, BaseException):
                self.health.register(part, needed=False)
                self.health.down(part, getattr(error, "code", "INTERNAL"), str(error))
                journal.error("project_not_opened", project=name, exc_info=error)
            else:
                self.health.remove(part)

    async def project(self, name: str) -> Project:
        await self.opened(name)
        return self.views[name]

    def metrics_allowed(self, client: str | None) -> bool:
        address = address_of(client) if client else None
        return self.settings.server.open or (address is not None and is_within(address, self.metrics_networks))

    def intake_of(self, name: str) -> Intake | Awaitable[Intake]:
        """At once for an open project, else after it is opened."""
        project = self.projects.get(name)
        if project is None:
            return self.opened_intake(name)
        assert project.intake is not None
        project.used_at = time.monotonic()
        return project.intake

    async def opened_intake(self, name: str) -> Intake:
        project = await self.opened(name)
        assert project.intake is not None
        return project.intake

    def refuse(self, project: str, minute: int, counts: Mapping[str, int]) -> None:
        """Count refused events for the ledger's column; written to the catalog once a second."""
        kept = self._refused.setdefault(project, Counter())
        for source, n in counts.items():
            kept[minute, source] += n

    async def tick(self) -> None:
        """A few times a second: take over changes of the catalog, keep the refused counts, close idle projects."""
        try:
            if self.authenticator.refresh():
                self.collector.refresh(self.projects)
                if "process" in self.roles:
                    await asyncio.to_thread(self.nightly.look)
                if "collect" not in self.roles:
                    # Another process takes their events in: nothing here would open them.
                    await self.open_others()
            if "process" in self.roles and self.lake_rounds.is_due():
                await asyncio.to_thread(self.lake_rounds.look, dict(self.projects))
            if self._refused and time.monotonic() - self._refused_at > REFUSED_EVERY_SECONDS:
                await asyncio.to_thread(self.keep_refused)
        except HeadwaterError as error:
            self.health.degraded("catalog", error.code, error.detail)
        else:
            self.health.ok("catalog")
        if "collect" in self.roles:
            self.collector.look(self.projects)
            for project in list(self.projects.values()):
                project.look_at_log()
        await self.close_idle()
        await self.spread_memory()

    async def spread_memory(self) -> None:
        held, opening = dict(self.projects), len(self._opening)
        if "process" in self.roles and not self.memory.is_spread(held, opening):
            await asyncio.to_thread(self.memory.spread, held, opening)

    def keep_refused(self) -> None:
        taken, self._refused = self._refused, {}
        self._refused_at = time.monotonic()
        for project, counts in taken.items():
            self.catalog.add_refused(project, counts)

    async def close_idle(self) -> None:
        """Only where this process has all roles: another may write to a log that looks idle from here."""
        if self.roles != roles_of("all"):
            return
        idle_seconds = self.settings.projects.idle_minutes * 60
        for name, view in list(self.views.items()):
            project = self.projects[name]
            used_at = max(view.used_at, project.used_at)
            if name in self.jobs.runner.projects():
                continue
            if name != DEFAULT_PROJECT and time.monotonic() - used_at > idle_seconds and project.is_idle():
                del self.projects[name], self.views[name]
                journal.info("project_closed", project=name, reason="idle")
                await asyncio.to_thread(project.close)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if hasattr(self, "jobs"):
            await asyncio.to_thread(self.jobs.stop)
        if hasattr(self, "collector"):
            self.collector.close()
        names = list(self.projects)
        ended = await asyncio.gather(
            *(asyncio.to_thread(project.close) for project in self.projects.values()), return_exceptions=True
        )
        for name, error in zip(names, ended, strict=True):
            if isinstance(error, BaseException):
                journal.error("close_failed", project=name, exc_info=error)
        if hasattr(self, "catalog"):
            try:
                self.keep_refused()
            except Unavailable as error:
                journal.error("refused_counts_lost", reason=error.detail)
            self.catalog.close()


def ask_first(project: Project) -> None:
    """Ask a first question, so that nobody's first one waits 0.5 s for what is imported and compiled at first use."""
    question = parse_query({"metrics": [*BUILT_IN], "timeRange": {"last": "1d"}})
    try:
        answer(question, {}, project.warehouse, now_us=time.time_ns() // 1000, watermark_us=project.watermark_us())
    except HeadwaterError as error:
        if error.code != "WAREHOUSE_CLOSED":  # stopped at once
            journal.warning("warm_up_failed", reason=error.detail, code=error.code)
