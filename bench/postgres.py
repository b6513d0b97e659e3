"""A private PostgreSQL for the peer: its own folder, its own socket, gone afterwards."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def bin_folder() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return found[-1] if found else None


@contextmanager
def private_postgres() -> Iterator[str]:
    """DSN of a fresh server with default settings (fsync on). Raises RuntimeError where PostgreSQL is not installed."""
    binaries = bin_folder()
    if binaries is None:
        raise RuntimeError("PostgreSQL is not installed; on Debian: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="headwater-bench-pg-"))
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    prefix = ["runuser", "-u", user, "--"] if os.geteuid() == 0 else []
    try:
        if prefix:
            shutil.chown(folder, user)
        data = folder / "data"
        subprocess.run(
            [*prefix, binaries / "initdb", "-D", data, "-U", "bench", "-A", "trust"], check=True, capture_output=True
        )
        options = f"-k {folder} -c listen_addresses='' -c shared_buffers=256MB"
        start = [*prefix, binaries / "pg_ctl", "-D", data, "-w", "-l", folder / "journal", "-o", options, "start"]
        subprocess.run(start, check=True, capture_output=True)
        try:
            yield f"postgresql://bench@/postgres?host={folder}"
        finally:
            subprocess.run(
                [*prefix, binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop"], check=True, capture_output=True
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
