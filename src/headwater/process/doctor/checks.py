"""All checks, in the order in which they are told: first whether anything is lost, last what only should be known."""

from collections.abc import Sequence
from functools import partial

from headwater.domain.findings import Finding
from headwater.process.doctor import content, counts, machine
from headwater.process.doctor.base import Check, Patient, run_checks
from headwater.storage.warehouse.base import Advance

CHECKS: Sequence[Check] = (
    Check("catalog", partial(counts.opens, store="catalog")),
    Check("log", counts.log_opens),
    Check("lake", partial(counts.opens, store="lake")),
    Check("warehouse", partial(counts.opens, store="warehouse")),
    Check("positions", counts.positions),
    Check("ledger", counts.ledger_balances),
    Check("warehouse rows", counts.warehouse_rows),
    Check("lake rows", counts.lake_rows),
    Check("lake against warehouse", deep=counts.lake_against_warehouse),
    Check("log content", content.log_headers, content.log_frames),
    Check("lake files", content.lake_files, content.lake_content),
    Check("warehouse content", deep=content.warehouse_content),
    Check("write-ahead log", content.warehouse_log),
    Check("disk", machine.disk),
    Check("clock", machine.clock),
    Check("versions", machine.versions),
    Check("permissions", machine.permissions),
    Check("first keys", machine.first_keys),
    Check("locks", machine.locks),
    Check("left over", machine.left_over),
    Check("jobs", machine.jobs),
    Check("quarantine", counts.quarantine_size),
    Check("health", machine.health),
)


def examine(patient: Patient, *, deep: bool, advance: Advance = lambda done, total: None) -> list[Finding]:
    """Fast: some ten ms. `deep` reads everything that is stored: about 100 MB/s."""
    return run_checks(patient, CHECKS, deep=deep, advance=advance)
