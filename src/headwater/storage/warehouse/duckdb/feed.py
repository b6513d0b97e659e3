"""A view's rows that change from block to block, while the view itself stays: so statements about it stay prepared."""

from collections.abc import Mapping
from typing import Any

from arro3.core import DataType, Field, Schema
from arro3.core import Table as ArrowTable

BATCH_BYTES = 2 << 20
"""DuckDB works on up to 2,048 rows of a record batch at once, and takes some eight times their bytes: 100 events of
200 KB in one batch took all of 160 MiB."""
BATCH_ROWS = 2048

_TYPES = {"int64": DataType.int64(), "string": DataType.string(), "bool": DataType.bool()}


class Feed:
    """Register it once; DuckDB asks for `rows` at each statement."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        """`columns`: as in base.py; the description of each begins with its type."""
        self._types = {name: _TYPES[says.split(":")[0].rstrip("?")] for name, says in columns.items()}
        self._schema = Schema([Field(name, kind) for name, kind in self._types.items()])
        self._nothing = ArrowTable.from_batches([], schema=self._schema)
        self.rows = self._nothing

    def take(self, rows: Any) -> None:
        """A table, or a stream: it is read once."""
        table = ArrowTable.from_arrow(rows)
        if table.schema != self._schema:
            # A prepared statement reads memory as the schema says that it was prepared with.
            columns = [table.column(name).cast(kind) for name, kind in self._types.items()]
            table = ArrowTable.from_arrays(columns, schema=self._schema)
        self.rows = _in_batches(table)

    def empty(self) -> None:
        self.rows = self._nothing

    def __arrow_c_schema__(self) -> object:
        return self._schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.rows.__arrow_c_stream__(requested_schema)


def _in_batches(table: ArrowTable) -> ArrowTable:
    """The table as it is; where its rows are large, in record batches of few of them."""
    rows = BATCH_BYTES * table.num_rows // max(table.nbytes, 1)
    return table if rows >= min(BATCH_ROWS, table.num_rows) else table.rechunk(max_chunksize=max(rows, 1))
