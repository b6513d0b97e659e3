"""Plans for lists of rows → SQL: events and quarantine, by page, by id, by group."""

from sqlglot import exp

from headwater.domain import plans
from headwater.storage.warehouse.duckdb.dialect import Rows, all_of, as_text, between, call, cast, column, param

RAW = (
    *("seq", "id", "type", "name", "source", "actor", "version", "session_id", "created_at", "occurred_at", "clamped"),
    *("received_at", "source_ip", "user_agent", "client_batch_id", "replays_seq", "attributes"),
)
TIMES = {"created_us": "created_at", "occurred_us": "occurred_at", "received_us": "received_at"}
TABLES = ("events", "hot")
QUARANTINE = "quarantine_states"


def events_sql(plan: plans.EventsPage) -> exp.Select:
    """Each table gives its newest `limit` rows by its own top-N, so only those are read whole."""
    branches = []
    for table in TABLES:
        rows = Rows(table, batches=plans.asks_request(plan.where))
        query = rows.source().select(*_raw(table))
        query = query.where(*between(plan.start_us, plan.end_us, "occurred_at", "e"))
        query = query.where(*(rows.holds(each) for each in plan.where))
        if plan.before is not None:
            at, seq = (param(each) for each in plan.before)
            here = exp.Tuple(expressions=[column("occurred_at", "e"), column("seq", "e")])
            # The bound on the time alone is implied, but it is what zone maps can prune by.
            query = query.where(
                exp.LTE(this=column("occurred_at", "e"), expression=at),
                exp.LT(this=here, expression=exp.Tuple(expressions=[at, seq])),
            )
        branches.append(_newest(query, "e", plan.limit))
    return _newest(_with_requests(branches), "e", plan.limit)


def event_sql(plan: plans.EventById) -> exp.Select:
    branches = []
    for table in TABLES:
        wanted = exp.EQ(this=column("id", "e"), expression=cast(param(plan.event_id), "UUID"))
        branches.append(
            _newest(Rows(table, batches=False).source().select(*_raw(table)).where(wanted), "e", plan.limit)
        )
    return _newest(_with_requests(branches), "e", plan.limit)


def quarantine_sql(plan: plans.QuarantinePage) -> exp.Select:
    wanted = _wanted(plan)
    if plan.before_seq is not None:
        wanted.append(exp.LT(this=column("seq"), expression=param(plan.before_seq)))
    return _quarantined(wanted, plan.limit)


def quarantined_sql(plan: plans.QuarantineById) -> exp.Select:
    wanted: list[exp.Expr] = []
    if plan.seq is not None:
        wanted.append(exp.EQ(this=column("seq"), expression=param(plan.seq)))
    if plan.event_id is not None:
        wanted.append(exp.EQ(this=column("id"), expression=cast(param(plan.event_id), "UUID")))
    return _quarantined(wanted, plan.limit)


def quarantine_groups_sql(plan: plans.QuarantineGroups) -> exp.Select:
    keys = [column(name) for name in plan.by]
    query = exp.select(
        *keys,
        exp.alias_(exp.Count(this=exp.Star()), "count"),
        exp.alias_(call("epoch_us", exp.Min(this=column("received_at"))), "first_received_us"),
        exp.alias_(call("epoch_us", exp.Max(this=column("received_at"))), "last_received_us"),
        exp.alias_(exp.Max(this=column("seq")), "example_seq"),
        exp.alias_(call("arg_max", column("detail"), column("seq")), "example_detail"),
    ).from_(QUARANTINE)
    query = query.where(*_wanted(plan)).group_by(*keys)
    order = [exp.Ordered(this=column("count"), desc=True, nulls_first=False)]
    order += [exp.Ordered(this=key.copy(), desc=False, nulls_first=False) for key in keys]
    return query.order_by(*order).limit(param(plan.limit))


def rows_sql(quarantine: bool) -> exp.Select:
    """Rows with `$1 <= time < $2`."""
    parts: list[exp.Expr] = []
    for table, time in [("quarantine", "received_at")] if quarantine else [(each, "occurred_at") for each in TABLES]:
        count = exp.select(exp.Count(this=exp.Star())).from_(table).where(*between(1, 2, time, None))
        parts.append(count.subquery())
    total = parts[0] if len(parts) == 1 else exp.Add(this=parts[0], expression=parts[1])
    return exp.select(exp.alias_(total, "rows"))


def _raw(table: str) -> list[exp.Expr]:
    made: list[exp.Expr] = []
    for name in RAW:
        value: exp.Expr = column(name, "e")
        if name == "attributes" and table == "events":
            value = as_text(cast(value, "JSON"))
        elif name == "attributes":
            value = as_text(value)
        made.append(exp.alias_(value, name) if name == "attributes" else value)
    return made


def _with_requests(branches: list[exp.Select]) -> exp.Select:
    """The rows found, with what their requests say of them."""
    union = exp.union(*(each.subquery() for each in branches), distinct=False)
    rows = Rows("found", batches=True)
    made: list[exp.Expr] = []
    for name in plans.EVENT_FIELDS:
        if name in TIMES:
            value: exp.Expr = call("epoch_us", column(TIMES[name], "e"))
        elif name == "id":
            value = as_text(column("id", "e"))
        elif name == "batch_id":
            value = as_text(rows.of_request("batch_id"))
        elif name in ("source_ip", "user_agent"):
            value = exp.Coalesce(this=column(name, "e"), expressions=[rows.of_request(name)])
        else:
            value = column(name, "e")
        made.append(exp.alias_(value, name))
    return rows.source().select(*made).with_("found", as_=union)


def _newest(query: exp.Select, table: str, limit: int) -> exp.Select:
    order = [exp.Ordered(this=column(name, table), desc=True, nulls_first=False) for name in ("occurred_at", "seq")]
    return query.order_by(*order).limit(param(limit))


def _wanted(plan: plans.QuarantinePage | plans.QuarantineGroups) -> list[exp.Expr]:
    wanted = between(plan.start_us, plan.end_us, "received_at", None)
    if plan.state != "all":
        still_there = exp.Is(this=column("by_seq"), expression=exp.null())
        wanted.append(still_there if plan.state == "open" else exp.Not(this=still_there))
    for name in ("code", "source", "name", "step"):
        value = getattr(plan, name)
        if value is not None:
            wanted.append(exp.EQ(this=column(name), expression=param(value)))
    return wanted


def _quarantined(wanted: list[exp.Expr], limit: int) -> exp.Select:
    made: list[exp.Expr] = []
    for name in plans.QUARANTINE_FIELDS:
        if name == "received_us":
            made.append(exp.alias_(call("epoch_us", column("received_at")), name))
        elif name == "id":
            made.append(exp.alias_(as_text(column("id")), name))
        else:
            made.append(column(name))
    query = exp.select(*made).from_(QUARANTINE)
    if wanted:
        query = query.where(all_of(wanted))
    return query.order_by(exp.Ordered(this=column("seq"), desc=True, nulls_first=False)).limit(param(limit))
