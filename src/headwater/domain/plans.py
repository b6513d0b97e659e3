"""What the engine hands to a warehouse, and what comes back: pure data, no SQL."""

from collections.abc import Sequence
from typing import Any

import msgspec


class Plan(msgspec.Struct, frozen=True, tag=True):
    """A question, decided down to resolved instants, fields and bound values. Each backend turns it into its SQL."""


class Table(msgspec.Struct, frozen=True):
    """Rows of an answer, with the facts of the snapshot they were read from."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    rows_read: int
    """Rows that the scan looked at after pruning, or an upper bound of it."""
    seq: int
    """Highest seq in the snapshot."""
    stored_us: int
    """When that seq was committed: `asOf`."""
    elapsed_seconds: float
