"""`headwater demo`: serve, load the shop's history through the collector, then let the shop go on."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from headwater import config
from headwater.boot.serve import run
from headwater.demo.definitions import demo_metrics, demo_schemas
from headwater.demo.facts import HOUR_US
from headwater.demo.live import trickle
from headwater.demo.load import load_demo
from headwater.demo.questions import first_questions
from headwater.demo.sender import Totals
from headwater.domain.errors import BadInput, HeadwaterError
from headwater.observe.journal import get_journal

MARK = "demo.json"
"""Beside the data: which shop it is, and whether its history is in. A folder without it is somebody's own data."""
JOIN_SECONDS = 5

journal = get_journal("application")


class Shown(Protocol):
    """Who tells a person how it goes."""

    def loading(self, totals: Totals, events: int) -> None: ...
    def loaded(self, totals: Totals | None, seconds: float, address: str, lines: list[str]) -> None: ...
    def failed(self, error: HeadwaterError) -> None: ...


class Demo:
    """The shop's side: a thread beside the service. `declare` posts a definition, whatever is there already."""

    def __init__(
        self, data: Path, seed: int, events: int, *, live: bool, shown: Shown, declare: Callable[[str, str, Any], None]
    ) -> None:
        self.path = data / MARK
        self.live = live
        self.shown = shown
        self.declare = declare
        self.mark = self.read_mark(seed, events)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.keep, name="demo", daemon=True)
        self.address = ""

    def read_mark(self, seed: int, events: int) -> dict[str, Any]:
        """Raises BadInput (NOT_A_DEMO_FOLDER) where the folder holds other data: a demo asks for no credentials."""
        if self.path.exists():
            found: dict[str, Any] = json.loads(self.path.read_text())
            return found
        if (self.path.parent / "catalog.sqlite").exists():
            raise BadInput(
                f"{self.path.parent} holds data that is not the demo's",
                code="NOT_A_DEMO_FOLDER",
                value=str(self.path.parent),
                hint="name another folder: headwater demo --data demo-data",
            )
        end_us = time.time_ns() // 1000 // HOUR_US * HOUR_US
        return {"seed": seed, "events": events, "endUs": end_us, "loaded": False}

    def begin(self, address: str) -> None:
        self.address = address
        self.write_mark()
        self.thread.start()

    def end(self) -> None:
        self.stop.set()
        if self.thread.is_alive():
            self.thread.join(JOIN_SECONDS)

    def keep(self) -> None:
        try:
            began = time.monotonic()
            totals = None if self.mark["loaded"] else self.load()
            lines = first_questions(self.address, self.mark["endUs"])
            self.shown.loaded(totals, time.monotonic() - began, self.address, lines)
            if self.live:
                trickle(self.address, {}, self.mark["seed"], self.stop, self.mark["events"])
        except HeadwaterError as error:
            if not self.stop.is_set():
                journal.error("demo_failed", exc_info=error)
                self.shown.failed(error)

    def load(self) -> Totals:
        """The history; a load that was broken off is sent again, and what was in already is not counted twice."""
        for schema in demo_schemas():
            self.declare(self.address, f"/api/v1/schemas/{schema['name']}@{schema['version']}", schema)
        for metric in demo_metrics():
            self.declare(self.address, f"/api/v1/metric-definitions/{metric['name']}", metric)
        events = self.mark["events"]
        totals = load_demo(
            self.address, {}, events, self.mark["seed"], self.mark["endUs"], lambda now: self.tell(now, events)
        )
        self.mark["loaded"] = True
        self.write_mark()
        return totals

    def tell(self, totals: Totals, events: int) -> None:
        if self.stop.is_set():
            raise HeadwaterError("stopped", code="STOPPED")
        self.shown.loading(totals, events)

    def write_mark(self) -> None:
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.mark))
        part.replace(self.path)


def run_demo(
    flags: Mapping[str, Any],
    file: Path | None,
    *,
    seed: int,
    events: int,
    live: bool,
    shown: Shown,
    declare: Callable[[str, str, Any], None],
) -> None:
    """Serve --open on the demo's folder until SIGTERM or Ctrl-C."""
    settings = config.load(flags={**flags, "server.open": True}, file=file)
    demo = Demo(Path(settings.server.data), seed, events, live=live, shown=shown, declare=declare)
    try:
        run(settings, on_ready=lambda address, house: demo.begin(address))
    finally:
        demo.end()
