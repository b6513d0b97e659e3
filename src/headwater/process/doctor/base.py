"""What the checks are given, and how they are run."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from headwater.domain.errors import HeadwaterError
from headwater.domain.findings import Finding, Result
from headwater.observe.health import Health
from headwater.storage.catalog.base import Catalog
from headwater.storage.lake.base import Lake
from headwater.storage.log.base import LogReader
from headwater.storage.warehouse.base import Advance, Warehouse


@dataclass
class Patient:
    """A project of a service that runs, or of a data folder that nobody serves. A store that can't be opened is the
    error that says why."""

    data: Path
    project: str
    folder: Path
    """The project's, where its stores are unless the settings say otherwise."""
    catalog: Catalog | HeadwaterError
    open_reader: Callable[[], LogReader]
    lake: Lake | HeadwaterError
    warehouse: Warehouse | HeadwaterError
    free_bytes_min: int
    wal_bytes_max: int
    headwater_version: str
    health: Health | None = None
    """Of a service that runs."""
    memory: dict[str, Any] = field(default_factory=dict)
    """What one check has read and another needs too."""

    def command(self, words: str) -> str:
        """The command line for this project's folder."""
        project = "" if self.project == "default" else f" --project {self.project}"
        return f"headwater {words} --data {shlex.quote(str(self.data))}{project}"

    def known(self, name: str) -> Any:
        """The store of that name. Raises Missing where it is not open."""
        store = getattr(self, name)
        if isinstance(store, HeadwaterError):
            raise Missing(name)
        return store

    @contextmanager
    def reader(self) -> Iterator[LogReader]:
        try:
            reader = self.open_reader()
        except HeadwaterError as error:
            raise Missing("log") from error
        try:
            yield reader
        finally:
            reader.close()


class Missing(Exception):
    """A check needs a store that can't be opened; that this is so is told by the check that opens it."""


class Found(NamedTuple):
    result: Result
    found: str
    cure: str | None = None


Look = Callable[[Patient], Found]
LongLook = Callable[[Patient, Advance], Found]


class Check(NamedTuple):
    name: str
    look: Look | None = None
    """Done in some ms each; None where there is a long one alone."""
    deep: LongLook | None = None
    """Instead of `look` when all content is to be read."""


def ok(found: str) -> Found:
    return Found("ok", found)


def warn(found: str, cure: str | None) -> Found:
    return Found("warn", found, cure)


def broken(found: str, cure: str | None) -> Found:
    return Found("broken", found, cure)


def run_checks(
    patient: Patient, checks: Sequence[Check], *, deep: bool, advance: Advance = lambda done, total: None
) -> list[Finding]:
    """`advance` is told of parts done, in thousandths of each check."""
    wanted = [check for check in checks if check.look is not None or deep]
    findings: list[Finding] = []
    for place, check in enumerate(wanted):

        def part(done: float, total: float | None, place: int = place) -> None:
            share = min(1.0, done / total) if total else 0.0
            advance((place + share) * 1000, len(wanted) * 1000)

        part(0, None)
        findings.append(Finding(check.name, *_run(check, patient, part, deep)))
    advance(len(wanted) * 1000, len(wanted) * 1000)
    return findings


def _run(check: Check, patient: Patient, advance: Advance, deep: bool) -> Found:
    try:
        if deep and check.deep is not None:
            return check.deep(patient, advance)
        assert check.look is not None
        return check.look(patient)
    except Missing as missing:
        return Found("skipped", f"not looked at, since the {missing} can't be opened")
    except HeadwaterError as error:
        return Found("broken", f"{error.detail} [{error.code}]", error.hint)
    except OSError as error:
        return Found("broken", f"{error.filename or patient.data}: {error.strerror}", "look at the disk")
