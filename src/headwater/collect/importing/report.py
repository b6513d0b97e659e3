"""What an import did, file by file."""

from typing import Any

import msgspec

from headwater.domain.errors import HeadwaterError

REJECTED_KEPT = 20
"""Examples of rejected lines in a report; all of them are in quarantine."""


class Rejected(msgspec.Struct, frozen=True):
    file: str
    line: int
    code: str
    detail: str


class FileReport(msgspec.Struct):
    path: str
    lines: int = 0
    """Records read in this run; blank lines are none."""
    accepted: int = 0
    duplicate: int = 0
    """Repeats that the collector knew at once; it stores none of the others either."""
    quarantined: int = 0
    bad_known: int = 0
    """Lines that can't be read and went to quarantine in an earlier import of this file: not sent again."""
    resumed_at: int = 0
    """Offset at which an interrupted import went on."""
    error: HeadwaterError | None = None
    """Why the file was not read to its end."""


class ImportReport(msgspec.Struct):
    files: list[FileReport] = []
    rejected: list[Rejected] = []
    """The first REJECTED_KEPT lines that went to quarantine."""

    @property
    def lines(self) -> int:
        return sum(file.lines for file in self.files)

    @property
    def accepted(self) -> int:
        return sum(file.accepted for file in self.files)

    @property
    def duplicate(self) -> int:
        return sum(file.duplicate for file in self.files)

    @property
    def quarantined(self) -> int:
        return sum(file.quarantined for file in self.files)

    @property
    def exit_code(self) -> int:
        """0 all lines are in; 3 some are, others are in quarantine or unread; 1 nothing is."""
        failed = any(file.error for file in self.files)
        refused = self.quarantined or any(file.bad_known for file in self.files)
        if not failed and not refused:
            return 0
        return 3 if self.accepted or self.duplicate or not failed else 1

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        files = [
            {name: getattr(file, name) for name in FileReport.__struct_fields__ if name != "error"}
            | {"error": None if file.error is None else {"code": file.error.code, "detail": file.error.detail}}
            for file in self.files
        ]
        totals = {name: getattr(self, name) for name in ("lines", "accepted", "duplicate", "quarantined")}
        return {**totals, "files": files, "rejected": [msgspec.structs.asdict(one) for one in self.rejected]}
