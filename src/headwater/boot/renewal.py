"""The rebuild of an open project's warehouse, while it works."""

from typing import TYPE_CHECKING, Any

from headwater.jobs.base import Kind
from headwater.process.renew import Renewal
from headwater.storage.lake import open_lake

if TYPE_CHECKING:
    from headwater.boot.project import OpenProject

JOB = "warehouse-rebuild"
BUILD_BYTES_MIN = 128 << 20
"""Of memory, for the file that is built."""


def renewal_of(project: "OpenProject") -> Renewal:
    return Renewal(
        project.warehouse,
        lambda: open_lake(project.places.lake, read_only=True),
        project.open_reader,
        memory_bytes=max(BUILD_BYTES_MIN, project.memory_bytes // 2),
        busy=project.stream_lags,
    )


def renewal_kind(run: Any) -> Kind:
    return Kind(run, lane="care", attempts_max=5, timeout_seconds=24 * 3600.0)
