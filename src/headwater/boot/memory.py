"""`warehouse.memory_bytes_max`, divided over the open projects as they come and go."""

from collections.abc import Mapping
from typing import Protocol

from headwater.domain.errors import Unavailable
from headwater.observe.journal import get_journal
from headwater.storage.warehouse.base import Warehouse

PROJECT_BYTES_MIN = 192 << 20
"""One request of 50 MB, the largest there is, takes 160 MiB to commit; loads beside seals of 375,000 rows take 96."""

journal = get_journal("application")


class Held(Protocol):
    """An open project."""

    warehouse: Warehouse
    memory_bytes: int
    """What its warehouse was last given."""


class Memory:
    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._told = False

    def share(self, projects: int) -> int:
        """Of each of so many. With more than `bytes_max` holds by PROJECT_BYTES_MIN, together they may take more."""
        share = self.bytes_max // max(1, projects)
        least = min(PROJECT_BYTES_MIN, self.bytes_max)
        if share < least and not self._told:
            self._told = True
            journal.warning(
                "warehouse_memory_short",
                projects=projects,
                bytes_max=self.bytes_max,
                bytes_each=least,
                hint="raise warehouse.memory_bytes_max, or lower projects.open_max",
            )
        return max(share, least)

    def spread(self, projects: Mapping[str, Held], opening: int) -> None:
        """Give each its share, `opening` more being about to come. One that can't let go yet is asked again next time.

        Blocks for some milliseconds where anything changes.
        """
        share = self.share(len(projects) + opening)
        for name, project in list(projects.items()):
            if project.memory_bytes == share:
                continue
            try:
                project.warehouse.resize(share)
            except Unavailable as error:
                journal.debug("warehouse_not_resized", project=name, bytes=share, reason=error.detail)
            else:
                project.memory_bytes = share

    def is_spread(self, projects: Mapping[str, Held], opening: int) -> bool:
        share = self.share(len(projects) + opening)
        return all(project.memory_bytes == share for project in projects.values())
