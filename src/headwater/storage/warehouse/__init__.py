"""Structured tables that answer questions. The contract is `base.py`; `duckdb/` is the embedded backend."""

from typing import Any

from headwater.storage.urls import backend_of
from headwater.storage.warehouse.base import Warehouse

KNOWN = {"duckdb": "duckdb.store"}


def open_warehouse(url: str, **settings: Any) -> Warehouse:
    """Open or create the warehouse at `url`. Settings: see the backend's `open`.

    Raises Unavailable (WAREHOUSE_LOCKED) while another process has it open, and Damaged (WAREHOUSE_DAMAGED,
    WAREHOUSE_NEWER, WAREHOUSE_OLDER) where it can't be read.
    """
    warehouse: Warehouse = backend_of("warehouse", url, KNOWN).open(url, **settings)
    return warehouse


def beside(url: str, name: str) -> str:
    """The URL of a warehouse that may take the place of the one at `url`, and is not in its way."""
    made: str = backend_of("warehouse", url, KNOWN).beside(url, name)
    return made


def replace_warehouse(url: str, new_url: str) -> None:
    """Put the one at `new_url`, made `beside`, in the place of the one at `url`, which is kept; neither is open.

    Killed at any moment, either the one or the other is the warehouse. Raises Unavailable.
    """
    backend_of("warehouse", url, KNOWN).replace(url, new_url)


def discard_warehouse(url: str) -> int:
    """Remove one that nobody has open; bytes freed."""
    freed: int = backend_of("warehouse", url, KNOWN).discard(url)
    return freed


def drop_kept(url: str) -> int:
    """Remove those that were replaced; bytes freed."""
    freed: int = backend_of("warehouse", url, KNOWN).drop_kept(url)
    return freed
