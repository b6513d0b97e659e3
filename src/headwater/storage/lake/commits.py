"""Commits of a Delta table, written so that one is durable before it can be seen.

deltalake reads the table, checkpoints it and would commit too, but it makes no fsync: after a power loss its commit
may stand there empty, or list files whose bytes never came to the disk. Here the order is: data files and their
folders (`parquet.write`), the commit under another name, then a hard link to its version, which fails where another
writer was first, then the folder.
"""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import google_crc32c
from deltalake import DeltaTable

from headwater.storage.durable import sync
from headwater.storage.lake.parquet import PARTITION, Written
from headwater.storage.log.base import Position

OWN = "headwater"
"""Key of our facts in a commit's commitInfo: log_id, seq, files, bytes, crc32c of the lines after it."""
LOG_ID = "headwater.logId"
"""Table property: the log (hex) that the position belongs to. Its seq is Delta's transaction version of that app id."""


def commit_lines(written: Sequence[Written], position: Position, new_log: dict[str, Any] | None) -> bytes:
    """The actions of one append. `new_log`: the metaData action, where the position's log is not the present one.

    The first line holds our facts, among them the checksum of the others: Delta has none.
    """
    now_ms = time.time_ns() // 1_000_000
    log_id = position.log_id.hex()
    actions: list[dict[str, Any]] = [{"metaData": new_log}] if new_log is not None else []
    actions.append({"txn": {"appId": log_id, "version": position.seq, "lastUpdated": now_ms}})
    actions.extend({"add": _add(each, now_ms)} for each in written)
    rest = b"".join(map(_line, actions))
    info = {
        "timestamp": now_ms,
        "operation": "WRITE",
        "operationParameters": {"mode": "Append", "partitionBy": json.dumps([PARTITION])},
        "operationMetrics": {"num_added_rows": sum(each.file.rows for each in written)},
        "engineInfo": OWN,
        OWN: {
            "log_id": log_id,
            "seq": position.seq,
            "files": len(written),
            "bytes": sum(each.file.bytes for each in written),
            "crc32c": google_crc32c.value(rest),
        },
    }
    return _line({"commitInfo": info}) + rest


def _line(action: dict[str, Any]) -> bytes:
    return json.dumps(action, separators=(",", ":")).encode() + b"\n"


def _add(written: Written, now_ms: int) -> dict[str, Any]:
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
        "dataChange": True,
        "stats": json.dumps(stats),
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


def versions(log: Path) -> tuple[int, int]:
    """(last commit, last checkpoint) by their file names; -1 where there is none."""
    commit = checkpoint = -1
    for path in log.iterdir():
        number, _, rest = path.name.partition(".")
        if number.isdigit() and rest == "json":
            commit = max(commit, int(number))
        elif number.isdigit() and rest.startswith("checkpoint"):
            checkpoint = max(checkpoint, int(number))
    return commit, checkpoint


def fault_of(path: Path) -> str | None:
    """What is wrong with a commit file; None when nothing is.

    A power loss leaves an empty, cut or zero-filled file; a flipped bit breaks the JSON or our checksum.
    """
    first, _, rest = path.read_bytes().partition(b"\n")
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
