"""The SQL of each kind of plan, as golden files, and what DuckDB makes of it."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.domain import plans
from headwater.domain.errors import BadInput
from headwater.domain.filters import AnyOf, Compare, Field
from headwater.domain.plans import Edges, Measure, MetricsPlan, Plan, Ranked, Steps
from headwater.storage import warehouse
from headwater.storage.warehouse.duckdb.sql import compile_plan, rows_in_range

DDL = Path(warehouse.__file__).parent / "duckdb" / "ddl"
GOLDEN = Path(__file__).parents[2] / "golden" / "sql"
HOUR = 3_600_000_000
AMOUNT, COUNTRY = Field("attributes", ("amount",)), Field("attributes", ("geo", "country"))
BUY = Compare(Field("name"), "in", "text", ("buy", "refund"))
COUNT, SUM = Measure("count", None, ()), Measure("sum", AMOUNT, (BUY,))
SPAN: dict[str, Any] = {"start_us": 0, "end_us": 24 * HOUR, "groups_max": 101, "rows_max": 1001, "batches": False}


def compared(operator: str, kind: str, *values: Any, field: Field = COUNTRY, **more: Any) -> Compare:
    return Compare(field, operator, kind, values, **more)


PLANS: dict[str, Plan] = {
    "count": MetricsPlan(measures=(COUNT,), outputs=(0,), **SPAN),
    "hourly": MetricsPlan(measures=(COUNT,), outputs=(0,), buckets=Steps(0, HOUR), **SPAN),
    "days_of_unequal_length": MetricsPlan(
        measures=(COUNT,), outputs=(0,), buckets=Edges((0, 23 * HOUR, 47 * HOUR)), **SPAN
    ),
    "several_metrics": MetricsPlan(
        measures=(
            SUM,
            Measure("unique", Field("actor"), (BUY,)),
            Measure("last", AMOUNT, ()),
            *(Measure(word, AMOUNT, ()) for word in ("avg", "min", "max", "p50", "p99")),
        ),
        outputs=(0, 1, 2),
        **SPAN,
    ),
    "every_metric_filtered": MetricsPlan(
        measures=(SUM, Measure("count", None, (compared("exists", "none"),))), outputs=(0, 1), **SPAN
    ),
    "top_groups": MetricsPlan(
        measures=(COUNT, SUM),
        outputs=(0, 1),
        dimensions=(COUNTRY, Field("type")),
        ranking=(Ranked(1, None, True), Ranked(None, 1, False)),
        **SPAN,
    ),
    "top_groups_hourly": MetricsPlan(
        measures=(COUNT,),
        outputs=(0,),
        dimensions=(COUNTRY,),
        buckets=Steps(0, HOUR),
        ranking=(Ranked(0, None, True),),
        **SPAN,
    ),
    "top_groups_hourly_by_average": MetricsPlan(
        measures=(Measure("avg", AMOUNT, ()),),
        outputs=(0,),
        dimensions=(COUNTRY,),
        buckets=Steps(0, HOUR),
        ranking=(Ranked(0, None, True),),
        **SPAN,
    ),
    "addresses": MetricsPlan(
        measures=(COUNT,),
        outputs=(0,),
        where=(compared("startsWith", "text", "10.", field=Field("sourceIp")),),
        dimensions=(Field("userAgent"),),
        ranking=(Ranked(0, None, True),),
        **(SPAN | {"batches": True}),
    ),
    "conditions": MetricsPlan(
        measures=(COUNT,),
        outputs=(0,),
        where=(
            compared("eq", "text", "DE", negated=True),
            compared("in", "integer", 1, 2),
            compared("eq", "number", 1.5),
            compared("eq", "boolean", True),
            compared("between", "number", 1.0, 2.0),
            compared("contains", "text", "x", ignore_case=True),
            compared("matches", "text", "^a", ignore_case=True),
            compared("endsWith", "text", "z", field=Field("source")),
            compared("gt", "number", 5.0, field=Field("source")),
            compared("gt", "instant", HOUR, field=Field("time")),
            AnyOf(
                (compared("lt", "text", "m"), compared("exists", "none", field=Field("attributes", ("*", "0")))),
                negated=True,
            ),
        ),
        **SPAN,
    ),
    "events_page": plans.EventsPage(
        limit=101, where=(BUY, compared("eq", "text", "1.1.1.1", field=Field("sourceIp"))), start_us=0, before=(HOUR, 7)
    ),
    "event_by_id": plans.EventById("0192f3f0-0000-7000-8000-000000000000"),
    "quarantine_page": plans.QuarantinePage(
        limit=101, code="TYPE_MISMATCH", source="web", name="buy", end_us=HOUR, before_seq=9
    ),
    "quarantine_by_id": plans.QuarantineById(event_id="0192f3f0-0000-7000-8000-000000000000"),
    "quarantine_by_seq": plans.QuarantineById(seq=7),
    "quarantine_groups": plans.QuarantineGroups(("code", "source"), 100, 0, HOUR),
}


@pytest.mark.parametrize("name", PLANS)
def test_golden_sql(name: str) -> None:
    statement = compile_plan(PLANS[name])
    text = statement.sql + "\n\n" + "\n".join(f"-- ${i}: {each!r}" for i, each in enumerate(statement.params, 1)) + "\n"
    path = GOLDEN / f"{name}.sql"
    if os.environ.get("HEADWATER_GOLDEN") == "rewrite":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert path.read_text() == text, "run `make golden` and review the diff"


def test_golden_sql_has_no_file_too_many() -> None:
    assert {each.stem for each in GOLDEN.glob("*.sql")} == set(PLANS)


@pytest.fixture(scope="module")
def con() -> Any:
    con = duckdb.connect(":memory:")
    for script in sorted(DDL.glob("*.sql")):
        con.execute(script.read_text())
    for table, value in (("events", "'{}'::json::variant"), ("hot", "'{}'::json")):
        con.execute(
            f"insert into {table} select i, uuid(), true, 'w', 'w', 't', 'n', '1', 'a', 's', null, "
            f"make_timestamp(i * 1000000), false, make_timestamp(i * 1000000), null, null, null, null, {value} "
            "from range(250000) r(i)"
        )
    yield con
    con.close()


@pytest.mark.parametrize("name", PLANS)
def test_duckdb_takes_the_sql_and_gives_the_columns_named(con: Any, name: str) -> None:
    statement = compile_plan(PLANS[name])
    con.execute(statement.sql, statement.params)
    assert tuple(each[0] for each in con.description) == statement.columns
    con.fetchall()


@pytest.mark.parametrize("name", ["count", "hourly", "top_groups_hourly", "days_of_unequal_length"])
def test_zone_maps_prune_both_tables_by_time(con: Any, name: str) -> None:
    plan = msgspec.structs.replace(PLANS[name], start_us=1_000_000, end_us=100_000_000)
    statement = compile_plan(plan)
    explained = con.execute("explain analyze " + statement.sql, statement.params).fetchall()[0][1]
    groups = re.findall(r"Row Groups Scanned: (\d+) / (\d+)", explained)
    assert len(groups) >= 2
    assert set(groups) == {("1", "3")}


def test_rows_in_range_counts_both_tables_and_leaves_out_the_end(con: Any) -> None:
    def rows(plan: Plan) -> int:
        statement = rows_in_range(plan)
        return int(con.execute(statement.sql, statement.params).fetchall()[0][0])

    assert rows(plans.EventsPage(limit=1, start_us=1_000_000, end_us=11_000_000)) == 20
    assert rows(plans.EventsPage(limit=1)) == 500_000
    assert rows(plans.QuarantinePage(limit=1)) == 0


texts = st.text(max_size=12)


@settings(max_examples=100, deadline=None)
@given(
    key=st.text(min_size=1, max_size=12),
    value=texts,
    name=texts,
    word=st.sampled_from(["eq", "contains", "startsWith"]),
)
def test_no_value_of_a_plan_ever_stands_in_the_sql(key: str, value: str, name: str, word: str) -> None:
    def sql(key: str, value: str, name: str) -> str:
        field = Field("attributes", (key, "inner"))
        where = (Compare(field, word, "text", (value,)), Compare(Field("name"), "in", "text", (name, name + "x")))
        plan = MetricsPlan(
            measures=(Measure("sum", field, where),),
            outputs=(0,),
            dimensions=(field,),
            ranking=(Ranked(0, None, True),),
            **SPAN,
        )
        return compile_plan(plan).sql

    # `*` alone takes another way into JSON: it is a shape of its own
    assert sql(key, value, name) == sql("*" if key == "*" else "k", "v", "n")


def test_equal_shapes_are_compiled_once_and_values_apart() -> None:
    first = compile_plan(PLANS["several_metrics"])
    other = MetricsPlan(
        **{name: getattr(PLANS["several_metrics"], name) for name in PLANS["several_metrics"].__struct_fields__}
        | {"end_us": 7}
    )
    second = compile_plan(other)
    assert second.sql is first.sql
    assert first.params != second.params


@pytest.mark.parametrize("pattern", ["(", "a(?!b)"])
def test_a_pattern_outside_of_re2_is_refused(pattern: str) -> None:
    plan = MetricsPlan(measures=(COUNT,), outputs=(0,), where=(compared("matches", "text", pattern),), **SPAN)
    with pytest.raises(BadInput) as caught:
        compile_plan(plan)
    assert (caught.value.code, caught.value.value) == ("INVALID_PATTERN", pattern)


def test_sqlglot_is_not_imported_before_the_first_question() -> None:
    code = (
        "import sys, headwater.storage.warehouse.duckdb.sql as sql\n"
        "from headwater.domain.plans import EventsPage\n"
        "assert 'sqlglot' not in sys.modules\n"
        "sql.compile_plan(EventsPage(limit=1))\n"
        "assert 'sqlglot' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
