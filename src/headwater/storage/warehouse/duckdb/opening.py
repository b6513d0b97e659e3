"""How a database file is opened: with which settings, looked at only, or copied and migrated first."""

import time
from pathlib import Path
from typing import Any

import duckdb

from headwater.domain.errors import Unavailable
from headwater.storage.warehouse.duckdb import engine, migrate, switch
from headwater.storage.warehouse.duckdb.failures import damaged, no_access
from headwater.storage.warehouse.duckdb.files import Files
from headwater.storage.warehouse.duckdb.mark import Mark
from headwater.storage.warehouse.duckdb.migrate import Step

LOCKED_DOWN = (
    # We make it ourselves in `close`. The last reader of a file that was switched away from would write to what has its
    # name by then.
    "pragma disable_checkpoint_on_shutdown",
    "set enable_external_access = false",
    "set lock_configuration = true",
)


def config_of(files: Files, *, memory_bytes_max: int, threads: int, temp_bytes_max: int) -> dict[str, Any]:
    return {
        "memory_limit": f"{memory_bytes_max >> 10}KiB",
        "allowed_configs": ["memory_limit"],  # the one that may change once the rest is locked
        "threads": threads,
        "temp_directory": str(files.temp),
        "max_temp_directory_size": f"{temp_bytes_max >> 10}KiB",
        "write_buffer_row_group_count": 1,  # with 5 a seal's last row groups wait for its commit, and in memory
        # With the 100 of the default, a checkpoint rewrites row groups that are half empty, and the loads wait for
        # it: 4 s for 25 of them. Empty ones are freed all the same.
        "max_vacuum_tasks": "0",
        "checkpoint_threshold": "1TB",  # only ours run: one of DuckDB's own stalls a commit for up to 2 s
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "python_enable_replacements": "false",
        "preserve_insertion_order": "true",  # a seal is in time order, which is what zone maps prune by
    }


def marked(home: Path, files: Files, *, read_only: bool) -> Mark:
    """The files at their usual names, and their mark. Raises Damaged, Unavailable."""
    try:
        if read_only and not files.database.exists():
            raise damaged(files.database, "it is gone")
        files.database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not read_only:
            switch.settle(home)
        return Mark(files.mark)
    except OSError as error:
        raise no_access(files.database, error) from error


def looked_at(files: Files, config: dict[str, Any], steps: list[Step]) -> duckdb.DuckDBPyConnection:
    """Read only. Raises Unavailable where there is something to migrate."""
    con = duckdb.connect(str(files.database), read_only=True, config=config)
    try:
        if migrate.pending(con, files.database, steps)[0]:
            raise Unavailable(
                f"warehouse: {files.database} has an older format, which the next start brings up to date",
                code="WAREHOUSE_UNAVAILABLE",
                path=str(files.database),
                hint="headwater serve",
            )
    except BaseException:
        con.close()
        raise
    return con


def migrated(files: Files, config: dict[str, Any], steps: list[Step]) -> tuple[duckdb.DuckDBPyConnection, Path | None]:
    """And where the copy is that was made, since the version of DuckDB has changed."""
    con, copy = duckdb.connect(str(files.database), config=config), None
    try:
        due, used = migrate.pending(con, files.database, steps)
        before = engine.changed(con, files.database) if used else None
        if before is not None:
            engine.let_go(con)
            copy = engine.keep_copy(files, before, f"v{duckdb.__version__}")
            con = duckdb.connect(str(files.database), config=config)
        if due and used:
            con.close()
            migrate.copy_of(files.database, due[0].number)
            con = duckdb.connect(str(files.database), config=config)
        if due:
            migrate.apply(con, due)
        if before is not None:
            engine.distrust(con, before)
        engine.record(con, time.time_ns() // 1000)
    except BaseException:
        con.close()
        raise
    return con, copy
