"""Is what was written still what is read: log, lake, warehouse?"""

from headwater.process.doctor.base import Found, Patient, broken, ok, warn
from headwater.process.doctor.counts import REBUILD
from headwater.storage.log.base import Damage
from headwater.storage.warehouse.base import Advance

READ_EVENTS = 20_000
NAMED_MAX = 5


def log_headers(patient: Patient) -> Found:
    with patient.reader() as reader:
        segments = reader.headers(0)
    return ok(f"{len(segments)} segments, {sum(sum(each.counts.values()) for each in segments):,} events")


def log_frames(patient: Patient, advance: Advance) -> Found:
    """Every frame that is held, with its checksums."""
    damages: list[Damage] = []
    events = 0
    with patient.reader() as reader:
        begin, end = reader.first_seq() - 1, reader.durable_seq()
        seq = begin
        while seq < end and (found := reader.read(seq, READ_EVENTS, 0.0)):
            damages += [each for each in found if isinstance(each, Damage)]
            events += sum(each.n for each in found)
            seq = found[-1].last_seq
            advance(seq - begin, end - begin)
        stored = min(patient.known(name).position().seq if patient.known(name).position() else 0 for name in STORES)
    if not damages:
        return ok(f"{events:,} events, every frame as it was written")
    said = "; ".join(f"seq {each.first_seq} to {each.last_seq}: {each.reason}" for each in damages[:NAMED_MAX])
    if all(each.last_seq <= stored for each in damages):
        return warn(f"{len(damages)} damaged ranges, all of them stored in lake and warehouse: {said}", None)
    return broken(
        f"{len(damages)} damaged ranges: {said}", "restore the segment from a copy, or send those events again"
    )


def lake_files(patient: Patient) -> Found:
    return _lake(patient, patient.known("lake").faults(), "all there, of the right size")


def lake_content(patient: Patient, advance: Advance) -> Found:
    return _lake(patient, patient.known("lake").faults(advance), "every byte as it was written")


def warehouse_content(patient: Patient, advance: Advance) -> Found:
    found = patient.known("warehouse").unreadable(advance)
    if found:
        return broken("; ".join(found[:NAMED_MAX]), patient.command(REBUILD))
    return ok("every column can be read")


def warehouse_log(patient: Patient) -> Found:
    """The write-ahead log is replayed at the next start."""
    size = patient.known("warehouse").facts()["wal_bytes"]
    found = f"{size:,} bytes wait in the write-ahead log"
    if size > 2 * patient.wal_bytes_max:
        return warn(f"{found}, which is to hold {patient.wal_bytes_max:,}: the next start takes long", None)
    return ok(found)


def _lake(patient: Patient, faults: list[str], well: str) -> Found:
    stats = patient.known("lake").stats()
    if faults:
        return broken(
            f"{len(faults)} faults: {'; '.join(faults[:NAMED_MAX])}",
            "restore those files from a copy; the warehouse is whole without them, a rebuild would lack their events",
        )
    if stats["checkpoint_failures"]:
        return warn(f"{stats['checkpoint_failures']} checkpoints of its log failed", None)
    return ok(f"{stats['files']:,} files, {stats['bytes']:,} bytes, {well}")


STORES = ("lake", "warehouse")
