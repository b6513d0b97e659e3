"""A log, a warehouse and a catalog in a folder, with the stream between them: the real parts, without HTTP."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from frames import entry_of, sources_of

from headwater.domain.batches import Batch
from headwater.process.ledger import LedgerView, ledger_view
from headwater.process.stream import Stream
from headwater.process.supervise import Supervisor
from headwater.storage.catalog import open_catalog
from headwater.storage.log import open_log_writer
from headwater.storage.log.base import Kind
from headwater.storage.warehouse import open_warehouse

WAIT_SECONDS = 60.0


class House:
    def __init__(self, folder: Path, **log_settings: Any) -> None:
        self.folder = folder
        self._changed = threading.Condition()
        self.outcomes: dict[Any, Any] = {}
        self.states: list[tuple[str, str, str]] = []
        self.catalog = open_catalog(f"sqlite://{folder}/catalog.sqlite")
        self.writer = open_log_writer(f"file://{folder}/log", self._on_durable, **log_settings)
        self.warehouse = open_warehouse(f"duckdb://{folder}/warehouse/warehouse.duckdb")
        self.supervisor: Supervisor | None = None
        self._closers: list[Callable[[], object]] = [self.warehouse.close, self.writer.close, self.catalog.close]

    def append_each(self, *batches: Batch) -> None:
        """As frames of their own; `append` may put them into one."""
        for batch in batches:
            self.append(batch)

    def append(self, *batches: Batch, events: Sequence[Any] | None = None, kind: Kind = Kind.EVENTS) -> None:
        """Durable at return. `events` are those of each batch, to count their sources by."""
        for batch in batches:
            labels = sources_of(batch, events) if events is not None else {"web": batch.n}
            self.writer.append(entry_of(batch, labels if kind is Kind.EVENTS else {}, kind), batch.batch_id)
        with self._changed:
            ids = [batch.batch_id for batch in batches]
            assert self._changed.wait_for(lambda: all(i in self.outcomes for i in ids), WAIT_SECONDS)
            assert all(isinstance(self.outcomes[i], int) for i in ids), self.outcomes

    def start(self, **settings: Any) -> Stream:
        stream = Stream(
            self.writer.reader,
            settings.pop("warehouse", self.warehouse),
            on_loaded=lambda block, loaded: self._notify(),
            **({"linger_seconds": 0.0} | settings),
        )
        self.supervisor = Supervisor(self._on_state, backoff_seconds_min=0.01)
        self.supervisor.start("stream", stream.run)
        return stream

    def wait_loaded(self, stream: Stream) -> None:
        """Until everything durable now is in the warehouse."""
        seq = self.writer.durable_seq()
        with self._changed:
            assert self._changed.wait_for(lambda: stream.gauges.loaded_seq >= seq, WAIT_SECONDS), self.states

    def wait_state(self, state: str, times: int = 1) -> str:
        """The reason given with it."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: sum(told[1] == state for told in self.states) >= times, WAIT_SECONDS
            ), self.states
            return [reason for _, told, reason in self.states if told == state][-1]

    def stop(self) -> None:
        if self.supervisor is not None:
            assert self.supervisor.stop(WAIT_SECONDS) == []
            self.supervisor = None

    def ledger(self) -> LedgerView:
        reader = self.writer.reader()
        try:
            return ledger_view(self.warehouse, reader, self.catalog, "default", 0, 10**9)
        finally:
            reader.close()

    def close(self) -> None:
        self.stop()
        for close in self._closers:
            close()

    def _on_durable(self, outcomes: Sequence[tuple[Any, Any]]) -> None:
        with self._changed:
            self.outcomes.update(outcomes)
            self._changed.notify_all()

    def _on_state(self, name: str, state: str, reason: str) -> None:
        with self._changed:
            self.states.append((name, state, reason))
            self._changed.notify_all()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()
