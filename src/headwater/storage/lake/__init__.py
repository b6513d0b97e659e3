"""Raw events as they came, versioned. The contract is `base.py`; `fs.py` keeps Delta tables on a local disk."""

from headwater.storage.lake.base import Lake
from headwater.storage.urls import backend_of

KNOWN = {"file": "fs"}


def open_lake(url: str, *, read_only: bool = False) -> Lake:
    """Open or create the lake at `url`. Raises Unavailable (code LAKE_LOCKED) when another process writes to it.

    `read_only` works beside a writer and changes nothing; a lake that is not there yet is then an empty one.
    """
    lake: Lake = backend_of("lake", url, KNOWN).open(url, read_only=read_only)
    return lake
