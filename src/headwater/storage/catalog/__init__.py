"""Projects, keys, schemas, definitions and their versions. The contract is `base.py`; `sqlite.py` is embedded."""

from headwater.storage.catalog.base import Catalog
from headwater.storage.urls import backend_of

KNOWN = {"sqlite": "sqlite"}


def open_catalog(url: str) -> Catalog:
    """The catalog at `url` (`sqlite:///path/catalog.sqlite`), made when it is new, migrated when it is old.

    Raises BadInput for an unknown scheme, Damaged (code CATALOG_DAMAGED) and Unavailable, each with the cure.
    """
    catalog: Catalog = backend_of("catalog", url, KNOWN).open(url)
    return catalog
