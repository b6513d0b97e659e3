"""The files of one warehouse: the database at its path, and what lies beside it under the same name."""

import shutil
from pathlib import Path
from typing import NamedTuple


class Files(NamedTuple):
    database: Path

    @property
    def wal(self) -> Path:
        return self._beside("wal")

    @property
    def mark(self) -> Path:
        return self._beside("position")

    @property
    def temp(self) -> Path:
        return self._beside("temp")

    def empty_temp(self) -> None:
        """Take away what queries of a killed process had spilled. Only for who holds the database."""
        shutil.rmtree(self.temp, ignore_errors=True)
        self.temp.mkdir(mode=0o700)

    def guard(self) -> int:
        """Make the files private; returns the bytes in the write-ahead log.

        DuckDB makes that log anew after each checkpoint, as the umask has it: until then the folder guards it.
        """
        self.database.chmod(0o600)
        try:
            found = self.wal.stat()
            if found.st_mode & 0o077:
                self.wal.chmod(0o600)
        except FileNotFoundError:
            return 0
        return found.st_size

    def _beside(self, name: str) -> Path:
        return self.database.with_name(f"{self.database.name}.{name}")


def size_of(path: Path) -> int:
    """0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
