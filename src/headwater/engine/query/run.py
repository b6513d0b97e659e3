"""A question through all stages: parse → plan → optimise → warehouse → shape, with the facts of the answer."""

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from headwater.domain.errors import BadInput
from headwater.domain.events import text_of
from headwater.domain.metrics import Versioned
from headwater.domain.plans import Table
from headwater.domain.queries import Answer, Facts, Query
from headwater.engine.query.optimise import optimise
from headwater.engine.query.parse import path_of_pattern
from headwater.engine.query.plan import Question, plan_query
from headwater.engine.query.shape import Shaped, rows_of, shape
from headwater.storage.warehouse.base import Cancel, Warehouse

POINTS_MAX = 100_000
"""Buckets times groups of one answer, about 10 MB as JSON."""


class Asked(msgspec.Struct, frozen=True):
    """What was asked, what was found, and what both cost."""

    question: Question
    shaped: Shaped
    facts: Facts


def answer(
    query: Query,
    definitions: Mapping[str, Versioned],
    warehouse: Warehouse,
    *,
    now_us: int,
    watermark_us: int | None,
    timeout_seconds: float = 30.0,
    points_max: int = POINTS_MAX,
    cancel: Cancel | None = None,
) -> Answer:
    """Blocks while the warehouse works. Raises BadInput: of `plan_query`, INVALID_PATTERN, QUERY_TIMEOUT and others."""
    asked = ask(
        query,
        definitions,
        warehouse,
        now_us=now_us,
        watermark_us=watermark_us,
        timeout_seconds=timeout_seconds,
        points_max=points_max,
        cancel=cancel,
    )
    facts = {name: getattr(asked.facts, name) for name in asked.facts.__struct_fields__}
    return Answer(**facts, columns=asked.shaped.columns, rows=rows_of(asked.question, asked.shaped))


def ask(
    query: Query,
    definitions: Mapping[str, Versioned],
    warehouse: Warehouse,
    *,
    now_us: int,
    watermark_us: int | None,
    timeout_seconds: float,
    points_max: int,
    cancel: Cancel | None,
) -> Asked:
    """As `answer`, with the numbers still by group."""
    began = time.perf_counter()
    question = plan_query(query, definitions, now_us, points_max)
    question = msgspec.structs.replace(question, plan=optimise(question.plan))
    try:
        table = warehouse.run(question.plan, timeout_seconds, cancel)
    except BadInput as error:
        if error.code == "INVALID_PATTERN" and error.path is None:
            error.path = path_of_pattern(query, error.value)
        raise
    shaped = shape(question, table, watermark_us)
    return Asked(question, shaped, _facts(question, shaped, table, watermark_us, time.perf_counter() - began))


def _facts(question: Question, shaped: Shaped, table: Table, watermark_us: int | None, elapsed_seconds: float) -> Facts:
    instants: dict[str, Any] = {
        "as_of": text_of(table.stored_us) if table.stored_us else None,
        "watermark": None if watermark_us is None else text_of(watermark_us),
    }
    return Facts(
        **instants,
        tier="raw",
        rows_read=table.rows_read,
        elapsed_ms=round(elapsed_seconds * 1000, 3),
        cache="miss",
        exact=True,
        unfinished=shaped.unfinished,
        truncated=shaped.truncated,
        warnings=question.warnings,
    )
