"""What the table's log of commits says: the files of a version, the position, the history."""

import json
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from headwater.domain.errors import Damaged, NotFound, Unavailable
from headwater.storage.durable import sync
from headwater.storage.lake import commits, parquet
from headwater.storage.lake.base import Version
from headwater.storage.lake.parquet import DataFile
from headwater.storage.log.base import Position

FOREIGN_COMMITS_MAX = 20
"""Commits of others in a row over which the history still finds the seq of one of ours."""
PROTOCOL_MAX = (1, 2)
"""(reader, writer) version of the Delta protocol that these commits keep."""


class Snapshot(msgspec.Struct, frozen=True):
    """The table as of one version."""

    version: int = -1
    position: Position | None = None
    files: tuple[DataFile, ...] = ()
    """Ascending by first_seq."""

    @property
    def seq(self) -> int:
        return self.position.seq if self.position else 0


def ordered(files: Sequence[DataFile]) -> tuple[DataFile, ...]:
    return tuple(sorted(files, key=lambda file: (file.first_seq, file.last_seq)))


def load(table: Path, version: int | None = None) -> Snapshot | None:
    """The newest version, or that one; None where there is no table yet.

    Raises Damaged naming the file, Unavailable where another tool raised the protocol.
    """
    found = open_table(table, version)
    if found is None:
        return None
    protocol = found.protocol()
    if (protocol.min_reader_version, protocol.min_writer_version) > PROTOCOL_MAX:
        raise Unavailable(
            f"lake: {table} was raised to Delta protocol {protocol.min_reader_version}, "
            f"{protocol.min_writer_version} by another tool; this version writes {PROTOCOL_MAX}",
            code="LAKE_PROTOCOL",
        )
    log_id = found.metadata().configuration.get(commits.LOG_ID)
    seq = found.transaction_version(log_id) if log_id else None
    adds = found.get_add_actions(flatten=True)
    columns = (adds[name].to_pylist() for name in ("path", "num_records", "size_bytes"))
    files = [parquet.file_of(*row) for row in zip(*columns, strict=True)]
    position = Position(bytes.fromhex(log_id), seq) if log_id and seq is not None else None
    return Snapshot(found.version(), position, ordered(files))


def open_table(table: Path, version: int | None = None) -> DeltaTable | None:
    """None where there is no table yet. Without `version` a reader passes over a torn last commit, as the writer
    will."""
    log = table / "_delta_log"
    if not log.is_dir():
        return None
    last, checkpoint = commits.versions(log, version)
    faults = {v: commits.fault_of(commits.path_of(v, log)) for v in range(checkpoint + 1, last + 1)}
    faulty = [version for version, fault in faults.items() if fault]
    if faulty and (version is not None or faulty != [last] or last <= checkpoint):
        path = commits.path_of(faulty[0], log)
        raise Damaged(
            f"lake: commit {path.name} can't be read: {faults[faulty[0]]}",
            code="LAKE_DAMAGED",
            path=str(path),
            hint="restore that file from a copy",
        )
    if faulty == [0]:
        return None
    try:
        return DeltaTable(table, version=last - 1 if faulty else version)
    except TableNotFoundError:
        return None
    except (DeltaError, ValueError, OSError) as error:
        words = str(error).partition("\n")[0][:300]
        point = f"{checkpoint:020d}.checkpoint.parquet" if checkpoint >= 0 else "no checkpoint"
        raise Damaged(
            f"lake: can't read the table's log {log} (last commit {last}, {point}): {words}",
            code="LAKE_DAMAGED",
            path=str(log),
            hint="restore the folder from a copy; while all commits since an older checkpoint are there, it is "
            "enough to delete the last checkpoint and _last_checkpoint",
        ) from error


def history(table: Path, limit: int) -> list[Version]:
    """Newest first."""
    found = open_table(table)
    if found is None:
        return []
    versions: list[Version] = []
    seq = 0
    for entry in reversed(found.history(limit + FOREIGN_COMMITS_MAX)):
        own = entry.get(commits.OWN, {})
        seq = own.get("seq", seq)
        versions.append(_version(entry["version"], entry, seq))
    return versions[::-1][:limit]


def version_of(table: Path, version: int, seq: int) -> Version:
    """One entry of the history; what is only known of its number where its commit was folded into a checkpoint."""
    path = commits.path_of(version, table / "_delta_log")
    return _version(version, commits.info_of(path) if path.exists() else {}, seq)


def _version(version: int, entry: dict[str, Any], seq: int) -> Version:
    own = entry.get(commits.OWN, {})
    return Version(
        version=version,
        committed_us=entry.get("timestamp", 0) * 1000,
        operation=entry.get("operation", "UNKNOWN"),
        rows=own.get("rows", int(entry.get("operationMetrics", {}).get("num_added_rows", 0))),
        bytes=own.get("bytes", 0),
        files=own.get("files", 0),
        seq=seq,
    )


def version_at(table: Path, time_us: int) -> int:
    """The newest version that was committed at or before this instant. Raises NotFound (LAKE_VERSION_GONE)."""
    log = table / "_delta_log"
    numbers = readable(log)
    place = bisect_right(numbers, time_us // 1000, key=lambda number: commits.committed_ms(number, log))
    if not place:
        raise NotFound(
            "the lake has no version of that time: it is before its first, or older than what is kept",
            code="LAKE_VERSION_GONE",
            value=time_us,
            hint="headwater lake history shows those that can be read",
        )
    return numbers[place - 1]


def check_readable(table: Path, version: int) -> None:
    """Raises NotFound (LAKE_VERSION_GONE)."""
    numbers = readable(table / "_delta_log") if (table / "_delta_log").is_dir() else []
    if version not in numbers:
        kept = f"{numbers[0]} to {numbers[-1]}" if numbers else "none"
        raise NotFound(
            f"the lake has no version {version}; it keeps {kept}",
            code="LAKE_VERSION_GONE",
            value=version,
            hint="headwater lake history shows those that can be read",
        )


def readable(log: Path) -> list[int]:
    """Numbers of the versions whose commits are there, ascending: without gaps, from 0 or a checkpoint on."""
    found, checkpoints = commits.numbers(log)
    numbers = sorted(found)
    starts = {0, *checkpoints}
    for place in range(len(numbers) - 1, -1, -1):
        if place and numbers[place - 1] != numbers[place] - 1:
            numbers = numbers[place:]
            break
    while numbers and numbers[0] not in starts and numbers[0] - 1 not in checkpoints:
        del numbers[0]
    return numbers


def trim(log: Path, before_us: int) -> int:
    """Delete commits and checkpoints that no version from `before_us` on needs, oldest first; how many files.

    The version that was the present one at that instant stays readable, and one checkpoint more than it needs stays for
    the day that one is damaged. Cut off anywhere, what stays is whole.
    """
    numbers, (_, checkpoints) = readable(log), commits.numbers(log)
    place = bisect_right(numbers, before_us // 1000, key=lambda number: commits.committed_ms(number, log))
    bases = [checkpoint for checkpoint in checkpoints if checkpoint <= numbers[max(place - 1, 0)]] if numbers else []
    if len(bases) < 2:
        return 0
    base = sorted(bases)[-2]
    for path in log.glob(f"{base:020d}.checkpoint*"):
        sync(path)
    gone = sorted(path for path in log.iterdir() if (number := commits.number_of(path)) is not None and number < base)
    for path in gone:
        path.unlink(missing_ok=True)
    if gone:
        sync(log)
    return len(gone)


def removed_since(log: Path, before_us: int) -> set[str]:
    """Paths of files that were taken out of the table at `before_us` or later: some kept version lists them."""
    removed: set[str] = set()
    before_ms = before_us // 1000
    for number in sorted(commits.numbers(log)[0], reverse=True):
        path = commits.path_of(number, log)
        if commits.committed_ms(number, log) < before_ms:
            break
        for line in path.read_bytes().splitlines():
            action = json.loads(line)
            if "remove" in action:
                removed.add(action["remove"]["path"])
    return removed
