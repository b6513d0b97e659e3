"""One life of the house in a process of its own, to be killed: a client that sends, a log, a stream, a lake.

    life.py FOLDER BATCHES        send batches 0 … BATCHES-1 that are not acknowledged yet, until killed or done
    life.py FOLDER BATCHES --end  the same, and when all is in the warehouse print what it holds as JSON

The client remembers what was acknowledged in a file, and sends everything else again with the same ids, as clients do;
every 50th batch it sends again though it was acknowledged. An acknowledged batch is one line of that file, written
by the callback that would answer 201.
"""

import itertools
import json
import os
import sys
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from frames import batch_of, entry_of, event

from headwater.domain.events import minute_of
from headwater.process.archive import Archive
from headwater.process.ledger import ledger_view
from headwater.process.stream import Stream
from headwater.process.supervise import Supervisor
from headwater.process.trim import keep_trimmed
from headwater.process.watermark import now_us
from headwater.storage.catalog import open_catalog
from headwater.storage.crash import crash_point
from headwater.storage.lake import open_lake
from headwater.storage.log import open_log_reader, open_log_writer
from headwater.storage.warehouse import open_warehouse

EVENTS_PER_BATCH = 20
RESEND_EVERY = 50
INFLIGHT_MAX = 8
DRAIN_SECONDS = 120.0
SEGMENT_BYTES = 32 * 1024
"""Some 2,500 of these events, which compress to 12 bytes: so that segments are trimmed in the slowest run too."""


def id_of(batch: int, index: int) -> str:
    return str(uuid.UUID(int=batch * EVENTS_PER_BATCH + index, version=4))


class Life:
    def __init__(self, folder: Path) -> None:
        self.acknowledged = folder / "acknowledged"
        self.acks = os.open(self.acknowledged, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        self.window = threading.Semaphore(INFLIGHT_MAX)
        self.changed = threading.Condition()
        self.catalog = open_catalog(f"sqlite://{folder}/catalog.sqlite")
        self.url = f"file://{folder}/log"
        self.writer = open_log_writer(self.url, self.on_durable, segment_bytes=SEGMENT_BYTES, age_hours_max=0)
        self.warehouse = open_warehouse(
            f"duckdb://{folder}/warehouse/warehouse.duckdb", seal_rows=2000, seal_rows_min=1000
        )
        self.stream = Stream(
            lambda: open_log_reader(self.url),
            self.warehouse,
            linger_seconds=0.005,
            events_per_load_max=400,
            on_loaded=lambda block, loaded: self.notify(),
        )
        self.supervisor = Supervisor(self.on_state)
        self.supervisor.start("stream", self.stream.run)
        self.supervisor.start("lake", lambda stop: self.archive(folder).run(stop))
        self.supervisor.start("trim", keep_trimmed(self.writer, self.catalog, "default", 0.05))

    def archive(self, folder: Path) -> Archive:
        return Archive(open_log_reader(self.url), open_lake(f"file://{folder}/lake"), events_per_seal=800)

    def send(self, batches: int) -> None:
        done = {int(line) for line in self.acknowledged.read_text().split()}
        todo = [k for k in range(batches) if k not in done]
        again = [k for k in sorted(done) if k % RESEND_EVERY == 0]
        for k in itertools.chain(again, todo):
            self.window.acquire()
            events = [event(0, id=id_of(k, i), timestamp="2026-11-24T10:00:00Z") for i in range(EVENTS_PER_BATCH)]
            entry = entry_of(batch_of(events, received_us=now_us()), {"web": EVENTS_PER_BATCH})
            self.writer.append(entry, k)

    def on_durable(self, outcomes: Sequence[tuple[Any, Any]]) -> None:
        crash_point("log.append.before_ack")
        lines = [f"{token}\n" for token, outcome in outcomes if isinstance(outcome, int)]
        os.write(self.acks, "".join(lines).encode())
        for _ in outcomes:
            self.window.release()

    def on_state(self, name: str, state: str, reason: str) -> None:
        if state == "failed":
            print(name, reason, self.supervisor.last_traceback.get(name), file=sys.stderr, flush=True)

    def notify(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def end(self) -> dict[str, Any]:
        for _ in range(INFLIGHT_MAX):
            self.window.acquire()
        seq = self.writer.durable_seq()
        with self.changed:
            assert self.changed.wait_for(lambda: self.stream.gauges.loaded_seq >= seq, DRAIN_SECONDS)
        reader = open_log_reader(self.url)
        view = ledger_view(self.warehouse, reader, self.catalog, "default", 0, minute_of(now_us()) + 1)
        reader.close()
        assert self.supervisor.stop(DRAIN_SECONDS) == []
        self.warehouse.close()
        self.writer.close()
        lake = open_lake(f"file://{Path(self.acknowledged).parent}/lake", read_only=True)
        lake_rows = lake.stats()["rows"]
        lake.close()
        trimmed = len(self.catalog.trimmed("default"))
        self.catalog.close()
        return {
            "totals": view.totals.counts(),
            "rows_balanced": all(row.balanced for row in view.rows),
            "restarts": self.supervisor.restarts,
            "trimmed": trimmed,
            "lake_rows": lake_rows,
        }


def main() -> None:
    folder, batches = Path(sys.argv[1]), int(sys.argv[2])
    life = Life(folder)
    print("up", flush=True)
    life.send(batches)
    if "--end" in sys.argv:
        print(json.dumps(life.end()), flush=True)
    else:
        threading.Event().wait()


main()
