"""A log and a lake in a folder with the archive between them, run in a thread."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from frames import entry_of, sources_of

from headwater.domain.batches import Batch
from headwater.process.archive import Archive, Seal
from headwater.storage.lake import open_lake
from headwater.storage.lake.base import Lake
from headwater.storage.log import open_log_writer
from headwater.storage.log.base import Kind, LogWriter

WAIT_SECONDS = 60.0


class Archiving:
    def __init__(self, folder: Path, **log_settings: Any) -> None:
        self.folder = folder
        self.log_settings = log_settings
        self.lake_url = f"file://{folder}/lake"
        self.seals: list[Seal] = []
        self.told: list[str | None] = []
        """By `on_stall`."""
        self.failure: Exception | None = None
        self._changed = threading.Condition()
        self._outcomes: dict[Any, Any] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.writer = self.open_writer()

    def open_writer(self) -> LogWriter:
        self.writer = open_log_writer(f"file://{self.folder}/log", self._on_durable, **self.log_settings)
        return self.writer

    def append(self, *batches: Batch, events: Sequence[Any] | None = None, kind: Kind = Kind.EVENTS) -> None:
        """One frame for each batch, durable at return."""
        for batch in batches:
            labels = sources_of(batch, events) if events is not None else {"web": batch.n}
            self.writer.append(entry_of(batch, {} if kind is Kind.REPLAY else labels, kind), batch.batch_id)
            with self._changed:
                assert self._changed.wait_for(lambda: batch.batch_id in self._outcomes, WAIT_SECONDS)  # noqa: B023
                assert isinstance(self._outcomes[batch.batch_id], int)

    def start(self, **settings: Any) -> Archive:
        self._stop = threading.Event()
        archive = Archive(
            self.writer.reader(), open_lake(self.lake_url), on_seal=self._on_seal, on_stall=self._on_stall, **settings
        )
        self._thread = threading.Thread(target=self._run, args=(archive,))
        self._thread.start()
        return archive

    def stop(self) -> None:
        self._stop.set()
        self.wait_over()

    def wait_over(self) -> None:
        if self._thread is not None:
            self._thread.join(WAIT_SECONDS)
            assert not self._thread.is_alive()
            self._thread = None

    def wait_sealed(self, seq: int) -> None:
        with self._changed:
            assert self._changed.wait_for(
                lambda: bool(self.seals) and self.seals[-1].position.seq >= seq, WAIT_SECONDS
            ), self.seals

    def wait_told(self, enough: Callable[[list[str | None]], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: enough(self.told), WAIT_SECONDS), self.told

    def seal_all(self, **settings: Any) -> None:
        """Everything in the log is in the lake at return."""
        archive = self.start(**settings)
        assert archive.flush(WAIT_SECONDS)
        self.stop()

    def lake(self) -> Lake:
        return open_lake(self.lake_url, read_only=True)

    def column(self, name: str) -> list[Any]:
        return [value for table in self.lake().read(0, 1000) for value in table[name].to_pylist()]

    def close(self) -> None:
        self.stop()
        self.writer.close()

    def _run(self, archive: Archive) -> None:
        try:
            archive.run(self._stop)
        except Exception as error:
            self.failure = error

    def _on_seal(self, seal: Seal) -> None:
        with self._changed:
            self.seals.append(seal)
            self._changed.notify_all()

    def _on_stall(self, reason: str | None) -> None:
        with self._changed:
            self.told.append(reason)
            self._changed.notify_all()

    def _on_durable(self, outcomes: Sequence[tuple[Any, Any]]) -> None:
        with self._changed:
            self._outcomes.update(outcomes)
            self._changed.notify_all()


def flip_a_bit_of(mark: bytes, folder: Path) -> None:
    """In the log's file that holds these bytes."""
    for path in folder.rglob("*"):
        content = bytearray(path.read_bytes()) if path.is_file() else bytearray()
        if (at := content.find(mark)) >= 0:
            content[at] ^= 1
            path.write_bytes(content)
            return
    raise AssertionError("the request is not in the log")
