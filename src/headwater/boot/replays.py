"""The replays of an open project: its warehouse and log, today's schemas, and who sent what."""

from typing import TYPE_CHECKING, Any

from headwater.collect.replay import Replays
from headwater.collect.validate import Sender
from headwater.domain.schemas import Rules
from headwater.jobs.base import Kind
from headwater.security.keys import KIND
from headwater.storage.catalog.base import Catalog

if TYPE_CHECKING:
    from headwater.boot.collector import Collector
    from headwater.boot.project import OpenProject

JOB = "replay"
ATTEMPTS_MAX = 10
"""With the runner's back-off that is a disk that stays full for an hour."""
SECONDS_MAX = 24 * 3600.0
WITHOUT_KEY = ("local", "open")
"""Key ids of requests by the data folder's own socket, and to an open server."""


class Today:
    """The schemas of the moment; read anew when the catalog has changed."""

    def __init__(self, collector: "Collector", project: str) -> None:
        self.collector = collector
        self.project = project
        self.rules = collector.rules_of(project)

    def __call__(self) -> Rules:
        if self.rules.revision != self.collector.catalog.revision():
            self.rules = self.collector.rules_of(self.project)
        return self.rules


def replays_of(project: "OpenProject", collector: "Collector") -> Replays:
    stream, writer = project.stream, project.writer
    assert stream is not None
    return Replays(
        project.warehouse,
        writer,
        rules=Today(collector, project.name),
        sender_of=lambda key_id: sender_of(project.catalog, project.name, key_id),
        bounds=collector.bounds(),
        lag=lambda: 0 if writer is None else stream.lag(writer.durable_seq()),
        refusing=lambda: collector.refusing,
    )


def sender_of(catalog: Catalog, project: str, key_id: str) -> Sender | None:
    """Whom a key stands for, revoked or not; None for one that was never here."""
    if key_id in WITHOUT_KEY:
        return Sender(key_id, key_id, frozenset(), public=False)
    stored = catalog.get(KIND, project, key_id)
    if stored is None:
        return None
    body: Any = stored.body
    sources = body.get("sources", ())
    return Sender(key_id, sources[0] if sources else body["name"], frozenset(sources), body["kind"] == "in")


def replay_kind(run: Any) -> Kind:
    return Kind(run, lane=JOB, attempts_max=ATTEMPTS_MAX, timeout_seconds=SECONDS_MAX)
