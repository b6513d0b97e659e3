"""The machine and the process: disk, clock, versions, permissions, what lies about, jobs, health."""

import os
import shlex
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from headwater.domain.findings import Result
from headwater.process.doctor.base import Found, Patient, broken, ok, warn
from headwater.process.doctor.counts import tally_of

DAYS_LEFT_MIN = 7
HISTORY = 100
STEP_SECONDS_MAX = 2.0
FAILED_SECONDS = 24 * 3600.0
NAMED_MAX = 5
LEFT_OVER = ("*.part", "*.next-*", "*.new")
"""What a process that was killed did not come to finish."""
ASIDE = ("*set-aside*", "damaged")
KEPT = ("*.before-*",)
GB = 1e9
BEGAN = time.time() - time.monotonic()
"""Wall time at the zero of the monotonic clock, as it was when this process began."""


def disk(patient: Patient) -> Found:
    """Free space against the limit and, where the lake's history tells it, against growth."""
    free = shutil.disk_usage(patient.data).free
    left = free - patient.free_bytes_min
    found = f"{free / GB:,.1f} GB free, {patient.free_bytes_min / GB:,.1f} GB are kept"
    if left <= 0:
        return broken(f"{found}: events are refused", "free some space")
    history = [each for each in patient.known("lake").history(HISTORY) if each.bytes > 0]
    span_us = history[0].committed_us - history[-1].committed_us if history else 0
    if span_us <= 3600 * 1_000_000:
        return ok(found)
    # Warehouse and log take about as much again.
    per_day = 2 * sum(each.bytes for each in history[:-1]) / span_us * 86_400e6
    days = left / per_day
    found = f"{found}; {per_day / GB:,.2f} GB more a day, full in {days:,.0f} days"
    if days < DAYS_LEFT_MIN:
        return warn(found, "free some space, or shorten the retention")
    return ok(found)


def clock(patient: Patient) -> Found:
    stepped = time.time() - time.monotonic() - BEGAN
    ahead = tally_of(patient).committed_us / 1e6 - time.time()
    if ahead > 1:
        return broken(f"the clock is {ahead:,.0f} s behind the last load", "set the clock right")
    if patient.health is not None and abs(stepped) > STEP_SECONDS_MAX:
        return warn(f"the clock was set by {stepped:+,.1f} s since this process began", "look at the time service")
    return ok("it goes on from the last load")


def versions(patient: Patient) -> Found:
    engines, now = tally_of(patient).engines, patient.known("warehouse").facts()["engine_version"]
    used = engines[-1][0] if engines else now
    if used != now:
        return warn(
            f"the warehouse was used with version {used} of its engine, this is {now}: the next start copies it first",
            patient.command("serve"),
        )
    before = f", before {engines[-2][0]}" if len(engines) > 1 else ""
    return ok(f"headwater {patient.headwater_version}, the warehouse's engine {used}{before}")


def permissions(patient: Patient) -> Found:
    wrong = [path for path in (patient.data, *_all_in(patient.data)) if _mode(path) & 0o077]
    if not wrong:
        return ok("only this user may read or write")
    cure = f"chmod -R go= {shlex.quote(str(patient.data))}"
    named = ", ".join(f"{path} ({_mode(path):04o})" for path in wrong[:NAMED_MAX])
    found = f"{len(wrong)} files or folders that others may use: {named}"
    return broken(found, cure) if patient.data in wrong else warn(f"{found}; the folder above keeps them out", cure)


def first_keys(patient: Patient) -> Found:
    path = patient.data / "first-keys"
    if not path.exists():
        return ok("the first start's keys are not lying about")
    return warn(f"{path} holds keys in clear text", f"rm {shlex.quote(str(path))}")


def locks(patient: Patient) -> Found:
    """The kernel lets go of a dead process's locks; what is left are words."""
    socket = patient.data / "headwater.sock"
    if patient.health is None and socket.exists():
        return ok(f"{socket} was left by a process that was killed; the next start makes it anew")
    return ok("held by the service that answers" if patient.health is not None else "nobody holds the folder")


def left_over(patient: Patient) -> Found:
    begun = [] if patient.health is not None else _matching(patient.folder, LEFT_OVER)
    aside, kept = _matching(patient.folder, ASIDE), _matching(patient.folder, KEPT)
    aside = [path for path in aside if path.is_file() or any(path.iterdir())]
    parts = []
    for paths, what in ((begun, "unfinished"), (aside, "set aside for a person to look at"), (kept, "kept copies")):
        if paths:
            size = sum(map(_size, paths)) / GB
            parts.append(f"{len(paths)} {what} ({size:,.2f} GB): {', '.join(map(str, paths[:NAMED_MAX]))}")
    if not parts:
        return ok("no copies, no half-built files")
    if not begun and not aside:
        return ok("; ".join(parts))
    doomed = " ".join(shlex.quote(str(path)) for path in (*begun, *aside))
    return warn("; ".join(parts), f"rm -r {doomed}")


def jobs(patient: Patient) -> Found:
    failed, last = patient.known("catalog").jobs.failed_since(FAILED_SECONDS)
    if failed and last is not None:
        said = f", the last a {last.kind}: {last.error.detail if last.error else ''}"
        return warn(f"{failed} failed for good within a day{said}", patient.command("jobs list --state failed"))
    return ok("none failed within a day")


def health(patient: Patient) -> Found:
    if patient.health is None:
        return ok("the service is stopped")
    ready = patient.health.ready()
    if not ready["reasons"]:
        return ok("every part of the process says that it is well")
    result: Result = "broken" if ready["status"] == "down" else "warn"
    said = "; ".join(
        f"{reason['name']}: {reason['code']}: {reason['detail']}" for reason in ready["reasons"][:NAMED_MAX]
    )
    return Found(result, said, "see /health/ready and the journal")


def _all_in(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield Path(root, name)


def _mode(path: Path) -> int:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return 0
    return 0 if stat.S_ISLNK(found.st_mode) else stat.S_IMODE(found.st_mode)


def _matching(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    return sorted({path for pattern in patterns for path in folder.rglob(pattern)})


def _size(path: Path) -> int:
    return sum(map(_size, path.iterdir())) if path.is_dir() else path.stat().st_size
