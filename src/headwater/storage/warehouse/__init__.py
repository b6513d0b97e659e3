"""Structured tables that answer questions. The contract is `base.py`; `duckdb/` is the embedded backend."""

from typing import Any

from headwater.storage.urls import backend_of
from headwater.storage.warehouse.base import Warehouse

KNOWN = {"duckdb": "duckdb.store"}


def open_warehouse(url: str, **settings: Any) -> Warehouse:
    """Open or create the warehouse at `url`. Settings: see the backend's `open`.

    Raises Unavailable (WAREHOUSE_LOCKED) while another process has it open, and Damaged (WAREHOUSE_DAMAGED,
    WAREHOUSE_NEWER) where it can't be read.
    """
    warehouse: Warehouse = backend_of("warehouse", url, KNOWN).open(url, **settings)
    return warehouse
