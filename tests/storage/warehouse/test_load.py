"""Loads of the DuckDB warehouse: exact duplicates against a plain model, and attributes that anyone may send."""

import json
import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.blocks import NOON_US, block, event, refused, settle

from headwater.domain import plans
from headwater.storage.warehouse import open_warehouse
from headwater.storage.warehouse.base import Warehouse

KEYS = st.tuples(
    st.sampled_from(["web", "app"]),
    st.integers(1, 4),
    st.sampled_from([None, 0, 1, -(30 * 86_400_000_000)]),
    st.booleans(),
)
BLOCKS = st.lists(
    st.tuples(st.lists(st.one_of(KEYS, st.sampled_from(["refused", "suppressed"])), max_size=8), st.booleans()),
    min_size=1,
    max_size=6,
)


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    opened = open_warehouse(f"duckdb://{tmp_path}/w/warehouse.duckdb", seal_rows=3, seal_rows_min=3)
    yield opened
    opened.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=BLOCKS)
def test_what_is_stored_and_counted_equals_a_plain_model(
    tmp_path_factory: pytest.TempPathFactory, made: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("model")
    warehouse = open_warehouse(f"duckdb://{folder}/warehouse.duckdb", seal_rows=3, seal_rows_min=3)
    seen: set[tuple[Any, ...]] = set()
    stored: list[int] = []
    expected = {"stored": 0, "duplicate": 0, "quarantined": 0, "suppressed": 0}
    seq = 0
    for items, seal in made:
        after, rows, bad = seq, [], []
        for item in items:
            seq += 1
            if isinstance(item, str):
                bad.append(refused(seq, suppressed=item == "suppressed"))
                expected["suppressed" if item == "suppressed" else "quarantined"] += 1
                continue
            source, number, offset, has_id = item
            created_us = None if offset is None else NOON_US + offset
            rows.append(
                event(
                    seq,
                    source=source,
                    source_label=source,
                    id=str(uuid.UUID(int=number)),
                    created_us=created_us,
                    has_id=has_id,
                )
            )
            if has_id and item in seen:
                expected["duplicate"] += 1
                continue
            if has_id:
                seen.add(item)
            expected["stored"] += 1
            stored.append(seq)
        loaded = warehouse.load(block(rows, seq, after, quarantine=bad))
        assert loaded.stored + loaded.duplicate == len(rows)
        if seal:
            settle(warehouse)
    totals = warehouse.ledger(0, 1 << 40, None).totals
    assert {name: getattr(totals, name) for name in expected} == expected
    page = warehouse.run(plans.EventsPage(limit=1000), 30.0)
    assert sorted(row[0] for row in page.rows) == stored
    warehouse.close()


def deep(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


NASTY = {
    "empty": ("{}", {}),
    "duplicate keys": ('{"a": 1, "a": 2}', {"a": 2}),
    "escaped duplicate key": ('{"a": 1, "\\u0061": 2}', {"a": 2}),
    "keys that differ by case": ('{"a": 1, "A": "x"}', {"a": 1, "A": "x"}),
    "boolean": ('{"a": true}', {"a": True}),
    "null": ('{"a": null}', {"a": None}),
    "array": ('{"a": [1, "x", null, {"b": [true]}]}', {"a": [1, "x", None, {"b": [True]}]}),
    "object under a key that is a number elsewhere": ('{"n": {"x": 1}}', {"n": {"x": 1}}),
    "text under a key that is a number elsewhere": ('{"n": "x"}', {"n": "x"}),
    "empty and dotted keys": ('{"": 1, "a.b": 2, " ": 3, "$": 4}', {"": 1, "a.b": 2, " ": 3, "$": 4}),
    "64 bits": (
        '{"a": 9223372036854775807, "b": -9223372036854775808, "c": 18446744073709551615}',
        {"a": 9223372036854775807, "b": -9223372036854775808, "c": 18446744073709551615},
    ),
    "huge integer": ('{"a": 123456789012345678901234567890}', {"a": 1.2345678901234568e29}),
    "beyond double": ('{"a": 1e999, "b": -1e999}', {"a": float("inf"), "b": float("-inf")}),
    "nul": ('{"a": "x\\u0000y"}', {"a": "x\x00y"}),
    "nul in a key": ('{"a\\u0000b": 1, "a": 2}', {"a\x00b": 1, "a": 2}),
    "other scripts": ('{"ключ": "значение", "e": "\\ud83d\\ude00"}', {"ключ": "значение", "e": "😀"}),
    "quotes in a key": ('{"a\\"b\'c": "\\/\\b\\f\\n\\r\\t"}', {"a\"b'c": "/\b\f\n\r\t"}),
    "sql": ("""{"a": "'; drop table hot; --"}""", {"a": "'; drop table hot; --"}),
    "200 levels": (deep(200), json.loads(deep(200))),
    "5000 keys": (
        json.dumps({f"k{n}": n for n in range(5000)}),
        {f"k{n}": n for n in range(5000)},
    ),
    "long value": (json.dumps({"a": "x" * 1_000_000}), {"a": "x" * 1_000_000}),
    "long key": (json.dumps({"k" * 100_000: 1}), {"k" * 100_000: 1}),
}
PLAIN = 31_000
"""Row groups smaller than 30,000 rows get no columns for their attributes."""


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """All of NASTY among plain rows: loaded, sealed, checkpointed, opened again."""
    url = f"duckdb://{tmp_path_factory.mktemp('nasty')}/warehouse.duckdb"
    warehouse = open_warehouse(url, seal_rows=PLAIN, seal_rows_min=PLAIN)
    rows = [event(n + 1, attributes=text) for n, (text, _) in enumerate(NASTY.values())]
    rows += [event(n, attributes=f'{{"n": {n}, "s": "v{n % 7}"}}') for n in range(len(rows) + 1, PLAIN + 1)]
    warehouse.load(block(rows, PLAIN))
    before = warehouse.digest(PLAIN)
    settle(warehouse)
    warehouse.close()
    warehouse = open_warehouse(url)
    assert warehouse.digest(PLAIN) == before
    yield warehouse
    warehouse.close()


@pytest.mark.parametrize("name", NASTY)
def test_attributes_come_back_as_they_mean(sealed: Warehouse, name: str) -> None:
    seq = list(NASTY).index(name) + 1
    page = sealed.run(plans.EventById(str(uuid.UUID(int=seq))), 30.0)
    ((*_, attributes),) = page.rows
    assert (
        json.loads(attributes, parse_constant=lambda text: float(text.lower().replace("infinity", "inf")))
        == (NASTY[name][1])
    )


def test_rows_with_too_many_keys_stay_as_text_and_the_rest_is_sealed(sealed: Warehouse) -> None:
    facts = sealed.facts()
    assert facts["rows_hot"] + facts["rows_sealed"] == PLAIN
    assert 2 <= facts["rows_hot"] <= len(NASTY)
    assert facts["rows_unsealed"] == 0


def test_a_random_order_of_ids_costs_no_repeat(warehouse: Warehouse) -> None:
    """UUID against text would hash differently, and every repeat would slip through."""
    ids = [str(uuid.UUID(int=random.getrandbits(128))) for _ in range(500)]
    rows = [event(n + 1, id=each) for n, each in enumerate(ids)]
    warehouse.load(block(rows, 500))
    again = [event(501 + n, id=row["id"].replace("-", ""), created_us=row["created_us"]) for n, row in enumerate(rows)]
    random.shuffle(again)
    again = [row | {"seq": 501 + n} for n, row in enumerate(again)]
    assert warehouse.load(block(again, 1000, 500)).duplicate == 500
