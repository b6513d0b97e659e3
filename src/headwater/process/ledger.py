"""The conservation ledger: what was received against what became of it, per minute and source, as of one position.

received = stored + duplicate + quarantined + suppressed + removed + lost + inFlight. Received comes from the log's
headers and from the counts of its trimmed segments, outcomes from rows the warehouse really holds, inFlight from the
headers past the warehouse's position: three records made at three moments by three parties, so a loss shows.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from headwater.domain.errors import Unavailable
from headwater.storage.catalog.base import Catalog
from headwater.storage.log.base import Counts, LogReader, SegmentCounts
from headwater.storage.warehouse.base import LedgerPage, LedgerRow, Warehouse

OUTCOMES = ("stored", "duplicate", "quarantined", "suppressed", "removed", "lost")
ATTEMPTS_MAX = 100
"""Two readings of headers known already take 0.1 ms between two appends some ms apart: nearly always one will do."""


class Line(msgspec.Struct, frozen=True):
    """One minute of one source, or the totals (minute 0, source '')."""

    minute: int
    source: str
    received: int
    stored: int
    duplicate: int
    quarantined: int
    suppressed: int
    removed: int
    lost: int
    in_flight: int
    refused: int
    """Events of refused requests: nothing of them was stored, so they stand outside the balance."""
    balanced: bool

    @property
    def difference(self) -> int:
        """Received beyond what became of them; 0 where it balances."""
        became: int = sum(getattr(self, name) for name in OUTCOMES)
        return self.received - became - self.in_flight

    def counts(self) -> dict[str, int | bool]:
        """Everything but minute and source, by its name on the wire."""
        outcomes = {name: getattr(self, name) for name in OUTCOMES}
        return {
            "received": self.received,
            **outcomes,
            "inFlight": self.in_flight,
            "refused": self.refused,
            "balanced": self.balanced,
        }


class LedgerView(msgspec.Struct, frozen=True):
    rows: list[Line]
    """Ascending by minute and source."""
    totals: Line
    """Over all time and sources."""


class Received(msgspec.Struct, frozen=True):
    """What the log says of one moment."""

    total: Counts
    in_flight: Counts
    """The part of it past the warehouse's position."""


def balanced_view(
    page: LedgerPage,
    received: Received,
    refused: Counts,
    minute_from: int,
    minute_to: int,
    source: str | None = None,
) -> LedgerView:
    """Join the three records: rows with minute_from <= minute < minute_to (of one source), totals over everything."""

    def wanted(counts: Counts) -> dict[tuple[int, str], int]:
        return {
            (minute, label): n
            for (minute, label), n in counts.items()
            if minute_from <= minute < minute_to and source in (None, label)
        }

    total, flying, turned_away = wanted(received.total), wanted(received.in_flight), wanted(refused)
    outcomes = {(row.minute, row.source): row for row in page.rows}
    keys = sorted(total.keys() | flying.keys() | turned_away.keys() | outcomes.keys())
    rows = [
        _line(outcomes.get(key) or LedgerRow(*key), total.get(key, 0), flying.get(key, 0), turned_away.get(key, 0))
        for key in keys
    ]
    whole = _line(page.totals, sum(received.total.values()), sum(received.in_flight.values()), sum(refused.values()))
    return LedgerView(rows, whole)


def ledger_view(
    warehouse: Warehouse,
    reader: LogReader,
    catalog: Catalog,
    project: str,
    minute_from: int,
    minute_to: int,
    source: str | None = None,
) -> LedgerView:
    """The ledger of now, also while appends, loads and trims go on. Raises Unavailable when they keep outrunning it.

    The page is read first and fixes the position; the headers of all frames and of those past it must then end at one
    seq, to speak of one moment. Trimmed counts are read last, so no segment is in neither. One trimmed meanwhile with
    the position inside it can't be split any more: a trim waits for the warehouse, whose new page is then past it.
    """
    for _ in range(ATTEMPTS_MAX):
        page = warehouse.ledger(minute_from, minute_to, source)
        received = received_of(page, reader, lambda: catalog.trimmed(project))
        if received is not None:
            refused = catalog.refused(project, minute_from, minute_to)
            return balanced_view(page, received, refused, minute_from, minute_to, source)
    raise Unavailable("the log moves faster than the ledger can be read; ask again", code="LEDGER_BUSY")


def received_of(
    page: LedgerPage, reader: LogReader, read_trimmed: Callable[[], Sequence[SegmentCounts]]
) -> Received | None:
    """What was received by a moment after the page was read; None where appends or trims came in between."""
    position = page.position.seq if page.position else 0
    held = reader.headers(0)
    past = reader.headers(position)
    if _end(past) > _end(held):
        return None
    trimmed = read_trimmed()
    gone = {(counts.log_id, counts.segment) for counts in trimmed}
    gone_past: list[SegmentCounts] = []
    for counts in trimmed:
        if counts.log_id == reader.log_id and counts.last_seq > position:
            if counts.segment <= position:
                return None
            gone_past.append(counts)

    def kept(segments: Sequence[SegmentCounts]) -> list[SegmentCounts]:
        return [counts for counts in segments if (counts.log_id, counts.segment) not in gone]

    return Received(_sum([*kept(held), *trimmed]), _sum([*kept(past), *gone_past]))


def _end(segments: Sequence[SegmentCounts]) -> int:
    return max((segment.last_seq for segment in segments), default=0)


def _sum(segments: Sequence[SegmentCounts]) -> Counts:
    counts: Counter[tuple[int, str]] = Counter()
    for segment in segments:
        counts.update(dict(segment.counts))
    return counts


def _line(row: LedgerRow, received: int, in_flight: int, refused: int) -> Line:
    outcomes = {name: getattr(row, name) for name in OUTCOMES}
    return Line(
        minute=row.minute,
        source=row.source,
        received=received,
        **outcomes,
        in_flight=in_flight,
        refused=refused,
        balanced=received == sum(outcomes.values()) + in_flight,
    )
