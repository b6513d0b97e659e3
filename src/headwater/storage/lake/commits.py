"""Commits of a Delta table, written so that one is durable before it can be seen.

deltalake reads the table, checkpoints it and would commit too, but it makes no fsync: after a power loss its commit
may stand there empty, or list files whose bytes never came to the disk. Here the order is: data files and their
folders (`parquet.write`), the commit under another name, then a hard link to its version, which fails where another
writer was first, then the folder.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import google_crc32c
from deltalake import DeltaTable

from headwater.storage.durable import sync
from headwater.storage.lake.parquet import PARTITION, DataFile, Written, day_of
from headwater.storage.log.base import Position

OWN = "headwater"
"""Key of our facts in a commit's commitInfo: log_id, seq, by how much files, rows and bytes changed, crc32c of the
lines after it."""
LOG_ID = "headwater.logId"
"""Table property: the log (hex) that the position belongs to. Its seq is Delta's transaction version of that app id."""


def append_lines(written: Sequence[Written], position: Position, new_log: dict[str, Any] | None, now_ms: int) -> bytes:
    """The actions of one append. `new_log`: the metaData action, where the position's log is not the present one."""
    actions: list[dict[str, Any]] = [{"metaData": new_log}] if new_log is not None else []
    actions.append({"txn": {"appId": position.log_id.hex(), "version": position.seq, "lastUpdated": now_ms}})
    actions.extend({"add": _add(each, now_ms)} for each in written)
    rows = sum(each.file.rows for each in written)
    described = {
        "operation": "WRITE",
        "operationParameters": {"mode": "Append", "partitionBy": json.dumps([PARTITION])},
        "operationMetrics": {"num_added_rows": rows},
    }
    change = {
        **_position(position),
        "files": len(written),
        "rows": rows,
        "bytes": sum(each.file.bytes for each in written),
    }
    return _commit(described, change, actions, now_ms)


def merge_lines(merged: Written, replaced: Sequence[DataFile], position: Position | None, now_ms: int) -> bytes:
    """One file in place of several that hold the same rows."""
    removes = [{"remove": _remove(each, now_ms, data_change=False)} for each in replaced]
    add = {"add": _add(merged, now_ms, data_change=False)}
    described = {
        "operation": "OPTIMIZE",
        "operationParameters": {"predicate": "[]"},
        "operationMetrics": {"numFilesAdded": 1, "numFilesRemoved": len(replaced)},
    }
    change = {
        **_position(position),
        "files": 1 - len(replaced),
        "rows": 0,
        "bytes": merged.file.bytes - sum(each.bytes for each in replaced),
    }
    return _commit(described, change, [*removes, add], now_ms)


def removal_lines(removed: Sequence[DataFile], position: Position | None, now_ms: int) -> bytes:
    """Rows that are no longer kept; whole files."""
    days = sorted({day_of(each) for each in removed})
    rows = sum(each.rows for each in removed)
    described = {
        "operation": "DELETE",
        "operationParameters": {"predicate": json.dumps([f"{PARTITION} in ({', '.join(days)})"])},
        "operationMetrics": {"num_deleted_rows": rows, "num_removed_files": len(removed)},
    }
    change = {
        **_position(position),
        "files": -len(removed),
        "rows": -rows,
        "bytes": -sum(each.bytes for each in removed),
    }
    return _commit(described, change, [{"remove": _remove(each, now_ms, data_change=True)} for each in removed], now_ms)


def _position(position: Position | None) -> dict[str, Any]:
    return {} if position is None else {"log_id": position.log_id.hex(), "seq": position.seq}


def _commit(described: dict[str, Any], change: dict[str, Any], actions: Sequence[dict[str, Any]], now_ms: int) -> bytes:
    """The first line holds our facts, among them the checksum of the others: Delta has none."""
    rest = b"".join(map(_line, actions))
    own = {**change, "crc32c": google_crc32c.value(rest)}
    return _line({"commitInfo": {"timestamp": now_ms, **described, "engineInfo": OWN, OWN: own}}) + rest


def _line(action: dict[str, Any]) -> bytes:
    return json.dumps(action, separators=(",", ":")).encode() + b"\n"


def _add(written: Written, now_ms: int, *, data_change: bool = True) -> dict[str, Any]:
    file = written.file
    stats = {
        "numRecords": file.rows,
        "minValues": {"seq": file.first_seq, "received_us": written.received_us_min},
        "maxValues": {"seq": file.last_seq, "received_us": written.received_us_max},
        "nullCount": {},
    }
    return {
        "path": file.path,
        "partitionValues": {PARTITION: str(written.day)},
        "size": file.bytes,
        "modificationTime": now_ms,
        "dataChange": data_change,
        "stats": json.dumps(stats),
    }


def _remove(file: DataFile, now_ms: int, *, data_change: bool) -> dict[str, Any]:
    return {
        "path": file.path,
        "deletionTimestamp": now_ms,
        "dataChange": data_change,
        "extendedFileMetadata": True,
        "partitionValues": {PARTITION: day_of(file)},
        "size": file.bytes,
    }


def metadata_with_log(table: DeltaTable, log_id: bytes) -> dict[str, Any]:
    """The table's metaData action, its LOG_ID property set to `log_id`."""
    metadata = table.metadata()
    return {
        "id": str(metadata.id),
        "name": metadata.name,
        "description": metadata.description,
        "format": {"provider": "parquet", "options": {}},
        "schemaString": table.schema().to_json(),
        "partitionColumns": metadata.partition_columns,
        "createdTime": metadata.created_time,
        "configuration": {**metadata.configuration, LOG_ID: log_id.hex()},
    }


def publish(lines: bytes, version: int, log: Path, staging: Path) -> None:
    """Make the commit durable, then visible as `version`. Raises FileExistsError when that version is taken.

    After any other OSError it is not visible; where it could not be taken back, its file is still there.
    """
    staged = staging / f"{version:020d}.json"
    staged.unlink(missing_ok=True)
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(lines)
        file.flush()
        os.fsync(descriptor)
    target = path_of(version, log)
    os.link(staged, target)
    try:
        staged.unlink()
        sync(log)
    except OSError:
        target.unlink()
        raise


def path_of(version: int, log: Path) -> Path:
    return log / f"{version:020d}.json"


def number_of(path: Path) -> int | None:
    """Of a commit or checkpoint; None for another file."""
    number, _, rest = path.name.partition(".")
    return int(number) if number.isdigit() and (rest == "json" or rest.startswith("checkpoint")) else None


def numbers(log: Path) -> tuple[set[int], set[int]]:
    """(commits, checkpoints) by their file names."""
    found: tuple[set[int], set[int]] = set(), set()
    for path in log.iterdir():
        number = number_of(path)
        if number is not None:
            found[path.suffix != ".json"].add(number)
    return found


def versions(log: Path, at: int | None = None) -> tuple[int, int]:
    """(last commit, last checkpoint) up to that version; -1 where there is none."""
    found = ([number for number in each if at is None or number <= at] for each in numbers(log))
    commit, checkpoint = (max(each, default=-1) for each in found)
    return commit, checkpoint


def committed_ms(version: int, log: Path) -> int:
    """By the clock of who committed it; ours never goes back. Raises OSError."""
    return int(info_of(path_of(version, log)).get("timestamp", 0))


def info_of(path: Path) -> dict[str, Any]:
    """The commitInfo of a commit, in most the first line; empty where there is none that can be read."""
    with path.open("rb") as file:
        for line in file:
            try:
                action = json.loads(line)
            except ValueError:
                return {}
            if "commitInfo" in action:
                info: dict[str, Any] = action["commitInfo"]
                return info
    return {}


def fault_of(path: Path) -> str | None:
    """What is wrong with a commit file; None when nothing is.

    A power loss leaves an empty, cut or zero-filled file; a flipped bit breaks the JSON or our checksum.
    """
    try:
        first, _, rest = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return "it is missing"
    try:
        own = json.loads(first).get("commitInfo", {}).get(OWN)
        for line in rest.splitlines():
            json.loads(line)
    except (ValueError, AttributeError) as error:
        return f"it is not JSON: {error}"
    if own is None:
        # Of another writer (deltalake made the table): it ends with a whole action, no more can be said.
        return None
    crc = google_crc32c.value(rest)
    return None if own.get("crc32c") == crc else f"its crc32c is {crc}, expected {own.get('crc32c')}"
