"""A collector's verdicts, a log, a stream, a warehouse and the replays between them, in one folder and process.

`Yard.send` does what the collector does with a body, without HTTP, at a received time of the test's choice.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from headwater.collect.bounds import Bounds
from headwater.collect.judge import Case, judge
from headwater.collect.replay import Args, Replays
from headwater.collect.validate import Moment, Sender
from headwater.domain.batches import Batch, encode_batch, new_uuid7
from headwater.domain.events import minute_of
from headwater.domain.patches import Operation, parse_patch
from headwater.domain.plans import Chosen, EventsPage, QuarantinePage
from headwater.domain.schemas import rules_from
from headwater.jobs.base import Interrupted, JobStopping
from headwater.process.ledger import LedgerView, ledger_view
from headwater.process.stream import Stream
from headwater.process.supervise import Supervisor
from headwater.storage.catalog import open_catalog
from headwater.storage.log import open_log_writer
from headwater.storage.log.base import Entry, Outcome
from headwater.storage.warehouse import open_warehouse
from headwater.storage.warehouse.base import Loaded

NOON_US = 1_795_521_600_000_000
"""2026-11-24 12:00 UTC."""
WAIT_SECONDS = 60.0
PRICES = {
    "name": "purchase",
    "jsonSchema": {"type": "object", "properties": {"price": {"type": "number"}}, "required": ["price"]},
}
TO_NUMBER = [{"op": "cast", "field": "attributes.price", "type": "number"}]
SENDERS = {
    "key": Sender("key", "site", frozenset(), public=False),
    "page": Sender("page", "web", frozenset({"web", "shop"}), public=True),
}


class MadeJob:
    """A job in memory, which may be cut off when it looks for the so-manieth time whether it is to go on."""

    def __init__(self, args: Mapping[str, Any], *, checks_max: int | None = None) -> None:
        self.id, self.kind, self.project, self.attempt = "1", "replay", "default", 1
        self.args: Mapping[str, Any] = msgspec.json.decode(msgspec.json.encode(args))
        self.checkpoint: Mapping[str, Any] | None = None
        self.checks_max = checks_max
        self.on_check: Callable[[], object] = lambda: None
        self.checks = 0

    def save(self, checkpoint: Mapping[str, Any], **progress: Any) -> None:
        self.checkpoint = msgspec.json.decode(msgspec.json.encode(checkpoint))
        self.check()

    def tell(self, **progress: Any) -> None:
        pass

    def cancelled(self) -> bool:
        return self.checks_max is not None and self.checks >= self.checks_max

    def check(self) -> None:
        self.checks += 1
        self.on_check()
        if self.cancelled():
            raise JobStopping


class Yard:
    def __init__(self, folder: Path, **log_settings: Any) -> None:
        self.folder = folder
        self.rules = rules_from([PRICES], "allow", 1)
        self.catalog = open_catalog(f"sqlite://{folder}/catalog.sqlite")
        self.writer = open_log_writer(f"file://{folder}/log", on_durable, **log_settings)
        self.warehouse = open_warehouse(f"duckdb://{folder}/warehouse/warehouse.duckdb")
        self.loads: list[Loaded] = []
        self.stream = Stream(
            self.writer.reader,
            self.warehouse,
            linger_seconds=0.0,
            on_loaded=lambda block, loaded: self.loads.append(loaded),
        )
        self.states: list[tuple[str, str, str]] = []
        self.start_stream()
        self.replays = self.make_replays()

    def make_replays(self, **settings: Any) -> Replays:
        return Replays(
            self.warehouse,
            settings.pop("log", self.writer),
            rules=lambda: self.rules,
            sender_of=SENDERS.get,
            bounds=Bounds(),
            lag=self.lag,
            **settings,
        )

    def start_stream(self) -> None:
        self.supervisor = Supervisor(lambda *told: self.states.append(told), backoff_seconds_min=0.01)
        self.supervisor.start("stream", self.stream.run)

    def stop_stream(self) -> None:
        assert self.supervisor.stop(WAIT_SECONDS) == []

    def lag(self) -> int:
        return self.stream.lag(self.writer.durable_seq())

    def send(
        self,
        events: Iterable[Any],
        *,
        at_us: int = NOON_US,
        key: str = "key",
        sent_us: int | None = None,
        suppressed: Sequence[int] = (),
    ) -> Batch:
        """Handed to the log; events are JSON values, or bytes that need not be JSON."""
        texts = [event if isinstance(event, bytes) else msgspec.json.encode(event) for event in events]
        body = b"\n".join([b"", *texts])
        judged = judge(body, Case(SENDERS[key], Moment(at_us, sent_us), Bounds(), self.rules))
        batch_id = new_uuid7(at_us)
        batch = Batch(
            batch_id=batch_id.bytes,
            received_us=at_us,
            n=judged.n,
            form=judged.form,
            body=body,
            key_id=key,
            source=SENDERS[key].source,
            id_base=batch_id.bytes,
            sent_us=sent_us,
            source_ip="192.0.2.1",
            user_agent="test",
            verdicts=judged.verdicts,
            suppressed=tuple(suppressed),
            public=SENDERS[key].public,
        )
        self.writer.append(Entry(encode_batch(batch), batch.n, minute_of(at_us), dict(judged.sources)), None)
        return batch

    def settle(self) -> None:
        """All that was sent is in the warehouse at return."""
        wait_for(lambda: self.writer.queued()[0] == 0 and self.lag() == 0, lambda: self.states)

    def sent(self, *bodies: Iterable[Any], **settings: Any) -> None:
        for body in bodies:
            self.send(body, **settings)
        self.settle()

    def job(self, patch: Any = (), chosen: Chosen | None = None, **settings: Any) -> MadeJob:
        operations = msgspec.convert(patch, tuple[Operation, ...])
        args = Args(chosen or Chosen(), operations, self.replays.through_seq())
        return MadeJob(msgspec.to_builtins(args), **settings)

    def replay(self, patch: Any = (), chosen: Chosen | None = None) -> Mapping[str, Any]:
        """The whole job, and its result."""
        return self.replays.run(self.job(patch, chosen))

    def dry(self, patch: Any = (), chosen: Chosen | None = None) -> dict[str, Any]:
        return self.replays.dry_run(chosen or Chosen(), parse_patch(list(patch)), 60.0)

    def until_cut_off(self, job: MadeJob) -> None:
        try:
            self.replays.run(job)
        except Interrupted:
            return
        raise AssertionError("the job came to its end")

    def ledger(self) -> LedgerView:
        reader = self.writer.reader()
        try:
            return ledger_view(self.warehouse, reader, self.catalog, "default", 0, 10**9)
        finally:
            reader.close()

    def totals(self) -> dict[str, int]:
        """What is not 0, once it has been seen that every row balances."""
        view = self.ledger()
        assert view.totals.balanced and all(row.balanced for row in view.rows), view
        return {name: n for name, n in view.totals.counts().items() if n and name != "balanced"}

    def stored(self) -> list[dict[str, Any]]:
        """By time, newest first."""
        return self.rows(EventsPage(limit=1000))

    def quarantined(self, **conditions: Any) -> list[dict[str, Any]]:
        return self.rows(QuarantinePage(limit=1000, **conditions))

    def rows(self, plan: Any) -> list[dict[str, Any]]:
        table = self.warehouse.run(plan, WAIT_SECONDS)
        return [dict(zip(table.columns, row, strict=True)) for row in table.rows]

    def declare(self, **schema: Any) -> None:
        self.rules = rules_from([{**PRICES, **schema}], "allow", self.rules.revision + 1)

    def close(self) -> None:
        self.stop_stream()
        for each in (self.warehouse, self.writer, self.catalog):
            each.close()


def on_durable(outcomes: Sequence[tuple[Any, Outcome]]) -> None:
    for told, outcome in outcomes:
        if told is not None:
            told(outcome)


def wait_for(condition: Callable[[], Any], said: Callable[[], Any] = lambda: "") -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, said()
        threading.Event().wait(0.005)


def purchase(n: int, price: Any, **fields: Any) -> dict[str, Any]:
    """An event with an id and a time of its own."""
    return {
        "id": f"00000000-0000-4000-8000-{n:012d}",
        "name": "purchase",
        "timestamp": "2026-11-24T11:59:00Z",
        "data": {"attributes": {"price": price, "n": n}},
    } | fields
