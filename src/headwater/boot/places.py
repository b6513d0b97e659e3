"""Where a project's stores are, and how its warehouse is opened."""

from pathlib import Path

from headwater import config
from headwater.storage.warehouse import open_warehouse
from headwater.storage.warehouse.base import Warehouse


class Places:
    """Where a project's stores are: in the data folder unless the settings say otherwise."""

    def __init__(self, settings: config.Settings, data: Path, project: str) -> None:
        folder = (data / "projects" / project).absolute()
        self.log = placed(settings.log.url, f"file://{folder}/log", project)
        self.lake = placed(settings.lake.url, f"file://{folder}/lake", project)
        self.warehouse = placed(settings.warehouse.url, f"duckdb://{folder}/warehouse/warehouse.duckdb", project)


def placed(url: str, default: str, project: str) -> str:
    """A store's URL; `{project}` in it stands for the project's name."""
    return url.replace("{project}", project) if url else default


def warehouse_at(url: str, room: config.Warehouse) -> Warehouse:
    """Opened as the settings say."""
    return open_warehouse(
        url,
        memory_bytes_max=room.memory_bytes_max,
        threads=room.threads,
        seal_rows=room.seal_rows,
        seal_rows_min=room.seal_rows_min,
        seal_age_seconds=room.seal_age_seconds,
        wal_bytes_max=room.wal_bytes_max,
    )
