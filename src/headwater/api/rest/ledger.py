"""The conservation ledger and receipts."""

import time
from typing import Annotated, Any

from litestar import Response, get
from litestar.params import FromPath, QueryParameter

from headwater.api.auth import needs
from headwater.api.rest.answers import LedgerOut, ReceiptOut
from headwater.api.rest.asking import AnyRequest, End, Start, project_of, site_of
from headwater.api.rest.objects import instant
from headwater.domain.errors import BadInput, Conflict
from headwater.domain.events import MINUTE_US, minute_of
from headwater.domain.filters import instant_us
from headwater.engine.query.pages import uuid_text
from headwater.process.ledger import LedgerView, ledger_view
from headwater.process.receipt import find_receipts

MINUTES_DEFAULT = 24 * 60
MINUTES_MAX = 366 * 24 * 60


@get("/api/v1/ledger", opt=needs("events:read", answer=LedgerOut), summary="The conservation ledger", tags=["ledger"])
async def ledger(
    request: AnyRequest,
    start: Start = None,
    end: End = None,
    source: Annotated[str | None, QueryParameter(description="Only this source")] = None,
) -> Response[Any]:
    """received = stored + duplicate + quarantined + suppressed + removed + lost + inFlight, per source and minute."""
    site, project = site_of(request), await project_of(request)
    now = minute_of(time.time_ns() // 1000)
    minute_to = now + 1 if end is None else -(-instant_us(end, "timeRange[end]") // MINUTE_US)
    minute_from = minute_to - MINUTES_DEFAULT if start is None else minute_of(instant_us(start, "timeRange[start]"))
    if not 0 < minute_to - minute_from <= MINUTES_MAX:
        raise BadInput(
            f"the range has {minute_to - minute_from} minutes; 1 to {MINUTES_MAX} are allowed",
            code="INVALID_TIME_RANGE",
            path="timeRange",
            limit=MINUTES_MAX,
        )
    found = await site.lane.run(
        project.reading,
        lambda reader: ledger_view(
            project.warehouse, reader, site.catalog, project.name, minute_from, minute_to, source
        ),
    )
    return Response(ledger_body(found, project.watermark_us()))


def ledger_body(found: LedgerView, watermark_us: int | None) -> dict[str, Any]:
    rows = [{"minute": instant(line.minute * MINUTE_US), "source": line.source, **line.counts()} for line in found.rows]
    return {"rows": rows, "totals": found.totals.counts(), "watermark": instant(watermark_us)}


@get(
    "/api/v1/events/{event_id:str}/receipt",
    opt=needs("events:read", answer=ReceiptOut),
    summary="Where is one event",
    tags=["events"],
)
async def receipt(
    request: AnyRequest,
    event_id: FromPath[str],
    source: Annotated[str | None, QueryParameter(description="Where several sources sent the same id")] = None,
) -> Response[Any]:
    """`state`: inFlight, stored, duplicate, quarantined, suppressed, or unknown."""
    site, project = site_of(request), await project_of(request)
    wanted = uuid_text(event_id)
    found = await site.lane.run(
        project.reading, lambda reader: find_receipts(project.warehouse, reader, wanted, source)
    )
    if len(found) > 1:
        sources = sorted({each.source for each in found})
        raise Conflict(
            f"several sources sent the id {wanted}: {', '.join(sources)}",
            code="AMBIGUOUS_ID",
            value=wanted,
            hint="add ?source=",
        )
    if not found:
        return Response({"id": wanted, "source": source, "state": "unknown"})
    one = found[0]
    body = {
        "id": one.id,
        "source": one.source,
        "state": one.state,
        "receivedAt": instant(one.received_us),
        "storedAt": instant(one.stored_us),
        "batchId": one.batch_id,
        "logOffset": one.seq,
        "duplicates": one.duplicates,
    }
    if one.reason is not None:
        body["reason"] = one.reason
    if one.before:
        # From the first on; the state above is what the last replay made of it.
        body["history"] = [
            {"logOffset": each.seq, "state": "quarantined", "reason": each.reason} for each in one.before
        ]
    return Response(body)
