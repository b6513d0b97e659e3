"""Which attributes a seal turns into columns, so that no event can make it fail or crawl.

DuckDB 2.0.0 gives every path that occurs in a row group a column of its own. One event with 1,000 keys among 40,000
took 5 s and then failed the checkpoint for want of memory (512 MB); 5,000 keys took 41 s and 2.9 GB. The cost is 0.4 µs
for each row and path. So a seal takes at most PATHS_MAX paths, the most frequent ones; rows with others stay in `hot`,
as text: exact, and read at the same speed as before.
"""

import json
from collections.abc import Iterable
from typing import Any

PATHS_MAX = 48
TEXT_BYTES_MAX = 16_384
"""Longer attributes are never sealed: their paths and values are not worth a look."""
BRACKETS_MAX = 120
"""Objects and lists in one event's attributes, so also their depth: json_structure fails beyond 128 levels."""
SHAPES_MAX = 5_000

# json_structure tells all paths at 4 µs a row, json_keys the top ones at 0.4 µs: enough where nothing is nested. Two
# replaces count brackets in 0.1 µs; one translate takes 1.7.
SHAPED = f"""
(
    select seq, case
        when strlen(attributes) > {TEXT_BYTES_MAX} or brackets > {BRACKETS_MAX} then null
        when brackets > 1 then json_structure(attributes)::varchar
        else json_keys(attributes)::json::varchar
    end as shape
    from (
        select seq, attributes, strlen(attributes) - strlen(replace(replace(attributes, '{{', ''), '[', '')) as brackets
        from hot where seq > $begin and seq <= $end
    )
)
"""  # noqa: S608 - constants only
FREQUENT = f"""
select hash(shape), any_value(shape), count(*) from {SHAPED} where shape is not null
group by hash(shape) order by count(*) desc, hash(shape) limit {SHAPES_MAX}
"""  # noqa: S608 - constants only
MOVABLE = f"""
create or replace temp table movable as select seq from {SHAPED} where list_contains($hashes, hash(shape))
"""  # noqa: S608 - constants only


def chosen(shapes: Iterable[tuple[int, str, int]], paths_max: int = PATHS_MAX) -> tuple[list[int], int]:
    """Of (hash, shape, rows): hashes of the shapes to seal, the first ones, most frequent first, as long as their paths
    fit; and how many rows they have."""
    taken: set[tuple[str, ...]] = set()
    hashes: list[int] = []
    rows = 0
    for shape_hash, shape, count in shapes:
        try:
            paths = taken | paths_of(json.loads(shape))
        except RecursionError:  # nested some 1,000 deep: more paths than fit, by far
            continue
        if len(paths) <= paths_max:
            taken = paths
            hashes.append(shape_hash)
            rows += count
    return hashes, rows


def paths_of(shape: Any, above: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """All paths in what json_keys (a list of keys) or json_structure (objects and lists of types) says."""
    if isinstance(shape, dict):
        found: set[tuple[str, ...]] = set()
        for key, below in shape.items():
            path = (*above, key)
            found |= {path} | paths_of(below, path)
        return found
    if isinstance(shape, list):
        return set().union(*(paths_of(each, (*above, "[]")) for each in shape))
    return {(shape,)} if above == ("[]",) else set()
