"""Do the records agree: log against ledger, ledger against rows, lake against warehouse?"""

from headwater.domain.errors import HeadwaterError
from headwater.process.doctor.base import Found, Patient, broken, ok, warn
from headwater.process.ledger import OUTCOMES, ledger_view
from headwater.process.positions import Held, check
from headwater.storage.log.base import Kind
from headwater.storage.warehouse.base import Advance, Tally

REBUILD = "lake rebuild --force"
ROWS_PER_READ = 50_000
QUARANTINED_MANY = 1_000
QUARANTINED_SHARE = 0.01
NAMED_MAX = 5


def opens(patient: Patient, store: str) -> Found:
    held = getattr(patient, store)
    if isinstance(held, HeadwaterError):
        return broken(f"{held.detail} [{held.code}]", _cure_of(patient, held))
    return ok("it can be opened")


def log_opens(patient: Patient) -> Found:
    try:
        reader = patient.open_reader()
    except HeadwaterError as error:
        return broken(f"{error.detail} [{error.code}]", error.hint)
    try:
        return ok(f"it holds seq {reader.first_seq()} to {reader.durable_seq()}")
    finally:
        reader.close()


def positions(patient: Patient) -> Found:
    lake, warehouse = patient.known("lake").position(), patient.known("warehouse").position()
    with patient.reader() as reader:
        held = Held(reader.log_id, reader.first_seq(), reader.durable_seq())
    start = check(held, warehouse, lake)
    at = ", ".join(f"{name} {held.durable_seq if name == 'log' else _seq(where)}" for name, where in (
        ("log", None), ("lake", lake), ("warehouse", warehouse),
    ))  # fmt: skip
    if start.fill:
        return warn(f"{at}: the warehouse lacks what the log no longer has", patient.command("serve"))
    return ok(at)


def ledger_balances(patient: Patient) -> Found:
    catalog, warehouse = patient.known("catalog"), patient.known("warehouse")
    with patient.reader() as reader:
        totals = ledger_view(warehouse, reader, catalog, patient.project, 0, 0).totals
    became = ", ".join(f"{getattr(totals, name):,} {name}" for name in OUTCOMES if getattr(totals, name))
    found = f"{totals.received:,} received: {became or 'none stored'}, {totals.in_flight:,} in flight"
    if totals.balanced:
        return ok(found)
    lacks_received = totals.difference < 0 and not wrong_rows(patient)
    # What is stored is stored: a new log writes it down as received.
    cure = patient.command("serve --new-log" if lacks_received else REBUILD)
    return broken(f"{found}; {totals.difference:+,} do not balance", cure)


def warehouse_rows(patient: Patient) -> Found:
    """What is counted as stored is there, row for row."""
    wrong, tally = wrong_rows(patient), tally_of(patient)
    if wrong:
        return broken("; ".join(wrong), patient.command(REBUILD))
    return ok(
        f"{tally.stored:,} stored, {tally.duplicate:,} duplicates, {tally.quarantined:,} in quarantine, as counted"
    )


def wrong_rows(patient: Patient) -> list[str]:
    tally, removed = tally_of(patient), bool(patient.known("warehouse").removals())
    wrong: list[str] = []
    for name in ("stored", "duplicate", "quarantined"):
        rows, counted = getattr(tally, name), getattr(tally.ledger, name)
        # Of repeats on days that were removed only the count is left.
        if rows != counted and not (name == "duplicate" and removed and rows < counted):
            wrong.append(f"{rows:,} rows are {name}, the ledger counts {counted:,}")
    if tally.doubled:
        wrong.append(f"{tally.doubled:,} rows are stored twice")
    return wrong


def lake_rows(patient: Patient) -> Found:
    """Every seq up to its position has a row, but those that were lost."""
    stats = patient.known("lake").stats()
    rows, seq = stats["rows"], stats["seq"]
    missing = seq - rows
    if missing < 0:
        return broken(f"{rows:,} rows for {seq:,} seqs", "restore the lake's folder from a copy")
    lost = tally_of(patient).ledger.lost
    if missing > lost:
        return warn(
            f"{rows:,} rows for {seq:,} seqs: {missing:,} are in no file, {lost:,} of them counted as lost; the rest "
            "was never given out, given up, or is older than the lake keeps: --deep tells if the warehouse has them",
            patient.command("doctor --deep"),
        )
    return ok(f"{rows:,} rows up to seq {seq:,}" + (f", {missing:,} lost" if missing else ""))


def lake_against_warehouse(patient: Patient, advance: Advance) -> Found:
    """Seq by seq. What the lake alone has was suppressed, removed, or a replay that came too late."""
    lake, warehouse = patient.known("lake"), patient.known("warehouse")
    tally = tally_of(patient)
    through = min(_seq(lake.position()), _seq(tally.position))
    removals = warehouse.removals()
    gone_before_us = removals[-1].horizon.before_us if removals else None
    end = first = 0
    only_warehouse: list[int] = []
    only_lake = doubled = 0
    for rows in lake.read(0, ROWS_PER_READ):
        here = {
            seq: kind == Kind.EVENTS and not suppressed and (gone_before_us is None or received_us >= gone_before_us)
            for seq, kind, suppressed, received_us in zip(
                *(rows[name].to_pylist() for name in ("seq", "kind", "suppressed", "received_us")), strict=True
            )
            if seq <= through
        }
        if not here:
            break
        first = first or min(here)
        last = max(here)
        found = warehouse.seqs(end, last) if end else warehouse.seqs(first - 1, last)
        there = set(found)
        doubled += len(found) - len(there)
        only_warehouse += sorted(there - here.keys())[: NAMED_MAX - len(only_warehouse)] if there - here.keys() else []
        only_lake += sum(expected for seq, expected in here.items() if seq not in there)
        end = last
        advance(end, through)
    return _told(patient, tally, first, through, only_warehouse, only_lake, doubled)


def quarantine_size(patient: Patient) -> Found:
    tally = tally_of(patient)
    n, all_ = tally.quarantined, tally.quarantined + tally.stored
    found = f"{n:,} events in quarantine, {100 * n / all_ if all_ else 0:.1f} %"
    if n > QUARANTINED_MANY and n > QUARANTINED_SHARE * all_:
        return warn(found, patient.command("quarantine"))
    return ok(found)


def _told(
    patient: Patient, tally: Tally, first: int, through: int, only_warehouse: list[int], only_lake: int, doubled: int
) -> Found:
    explained = tally.ledger.removed + tally.ledger.suppressed + tally.ledger.lost
    if doubled:
        return broken(f"{doubled:,} seqs have more than one row in the warehouse", patient.command(REBUILD))
    if only_lake > explained:
        return broken(
            f"{only_lake:,} events of the lake are not in the warehouse, {explained:,} are accounted for",
            patient.command(REBUILD),
        )
    if only_warehouse:
        named = ", ".join(map(str, only_warehouse))
        return broken(
            f"the warehouse has events that the lake lacks (seq {named} …): a rebuild would lose them",
            "restore the lake's folder from a copy",
        )
    return ok(f"the same events in both, seq {first:,} to {through:,}")


def tally_of(patient: Patient) -> Tally:
    if "tally" not in patient.memory:
        patient.memory["tally"] = patient.known("warehouse").tally()
    tally: Tally = patient.memory["tally"]
    return tally


def _seq(position: object) -> int:
    return getattr(position, "seq", 0)


def _cure_of(patient: Patient, error: HeadwaterError) -> str | None:
    return patient.command("lake rebuild") if error.hint and "lake rebuild" in error.hint else error.hint
