"""Does the ledger of each open project balance? Looked at beside the work; told by /health/ready and /metrics."""

import asyncio
import time
from collections.abc import Callable, Mapping

import msgspec

from headwater.api.site import Project
from headwater.domain.errors import HeadwaterError
from headwater.domain.events import MINUTE_US, text_of
from headwater.observe.gauges import counter
from headwater.observe.health import Health
from headwater.observe.journal import get_journal
from headwater.process.ledger import LedgerView, ledger_view
from headwater.storage.catalog.base import Catalog

TICK_SECONDS = 1.0
MINUTE_MAX = 1 << 40

UNREAD = counter("headwater_ledger_unread_runs_total", "Looks at a ledger that could not be read.", ("code",))

journal = get_journal("pipeline")


class Imbalance(msgspec.Struct, frozen=True):
    events: int
    """Received beyond what became of them; negative where more became of them than were received."""
    minute_first: int
    """The first and last minute of receipt that does not balance."""
    minute_last: int

    def told(self, project: str) -> str:
        first, last = (text_of(minute * MINUTE_US)[:16] + ":00Z" for minute in (self.minute_first, self.minute_last))
        said = "received and not accounted for" if self.events > 0 else "accounted for and not received"
        span = f"in the minute {first}" if first == last else f"in minutes from {first} to {last}"
        return (
            f"{abs(self.events)} events are {said}, {span}; look: headwater ledger --project {project} --start {first}"
        )


class Balances:
    """One look a project every `every_seconds`: some milliseconds in a thread, more only where something is wrong."""

    def __init__(self, health: Health, catalog: Catalog, every_seconds: float) -> None:
        self._health = health
        self._catalog = catalog
        self._every_seconds = every_seconds
        self._found: dict[str, Imbalance | None] = {}
        self._due: dict[str, float] = {}

    def events(self) -> dict[str, int]:
        """By how many events each project's ledger did not balance when it was last looked at."""
        return {project: 0 if found is None else found.events for project, found in list(self._found.items())}

    async def watch(self, projects: Mapping[str, Project]) -> None:
        while True:
            for name in self._found.keys() - projects.keys():
                self._forget(name)
            for project in list(projects.values()):
                if time.monotonic() >= self._due.get(project.name, 0.0):
                    await self._look(project, lambda name: name in projects)
                    self._due[project.name] = time.monotonic() + self._every_seconds
            await asyncio.sleep(min(TICK_SECONDS, self._every_seconds))

    async def _look(self, project: Project, is_open: Callable[[str], bool]) -> None:
        try:
            found = await asyncio.to_thread(imbalance_of, project, self._catalog)
        except Exception as error:  # nothing that a look meets may end the watch
            if is_open(project.name):
                UNREAD.of(error.code if isinstance(error, HeadwaterError) else "INTERNAL").add()
                journal.warning("ledger_not_read", project=project.name, exc_info=error)
            return
        if is_open(project.name):
            self._tell(project.name, found)

    def _tell(self, name: str, found: Imbalance | None) -> None:
        """Without a pause in it: in the event loop nobody sees the part between two states."""
        part = f"{name}.ledger"
        if name not in self._found:
            self._health.register(part, needed=False)
        before = self._found.get(name)
        self._found[name] = found
        if found is None:
            self._health.ok(part)
            if before is not None:
                journal.info("ledger_balances_again", project=name)
            return
        self._health.degraded(part, "LEDGER_UNBALANCED", found.told(name))
        if found != before:
            journal.error("ledger_unbalanced", project=name, events=found.events, reason=found.told(name))

    def _forget(self, name: str) -> None:
        del self._found[name]
        self._due.pop(name, None)
        self._health.remove(f"{name}.ledger")


def imbalance_of(project: Project, catalog: Catalog) -> Imbalance | None:
    """By the totals; only where they do not balance are all minutes read. Raises what reading the ledger raises."""

    def ledger(minute_to: int) -> LedgerView:
        warehouse, name = project.warehouse, project.name
        return project.reading(lambda reader: ledger_view(warehouse, reader, catalog, name, 0, minute_to))

    if ledger(0).totals.balanced:
        return None
    whole = ledger(MINUTE_MAX)
    minutes = [line.minute for line in whole.rows if not line.balanced]
    if whole.totals.balanced or not minutes:
        return None
    return Imbalance(whole.totals.difference, min(minutes), max(minutes))
