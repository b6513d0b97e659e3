"""What happens to events between log and warehouse, in order. `blocks_of` is the whole of it, and pure.

Frames are unpacked into requests and, some 2,000 events at a time, decoded into rows; each of STEPS then adds columns
to them all at once; the columns become the Arrow tables of one `Block`. An event that breaks a step leaves the batch as
a reject with the step's name and code, its neighbours go on. The time of every stage and all rejects are counted.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from time import perf_counter

import msgspec
from arro3.core import Table

from headwater.domain import wire
from headwater.domain.events import minute_of
from headwater.process.arrow import arrow, batches_table, put_together, quarantine_table
from headwater.process.clock import clock
from headwater.process.context import context
from headwater.process.decode import decode, unpack
from headwater.process.identify import describe, identify
from headwater.process.refuse import STEP_FAILED, Unreadable, broken, unreadable
from headwater.process.work import Held, Reject, Work, joined
from headwater.storage.log.base import Damage, Frame, Kind, Position
from headwater.storage.warehouse.base import Block

PART_EVENTS = 2048
"""Rows and columns of so many stay in the processor's cache: 2.5 µs an event, and 3.2 for 20,000 at once."""

Step = Callable[[Work], Work]
"""Adds columns to a batch; keeps the order and number of its events. Raises for data it can't take."""

STEPS: list[Step] = [identify, describe, clock, context]


class StepStats(msgspec.Struct):
    """What one block took: seconds by stage, rejects by (step, code)."""

    events: int = 0
    batches: int = 0
    seconds: dict[str, float] = {}
    rejects: dict[tuple[str, str], int] = {}


def blocks_of(
    frames: Sequence[Frame | Damage], after_seq: int, log_id: bytes, steps: Sequence[Step] = STEPS
) -> tuple[Block, StepStats]:
    """One block of everything in these frames (at least one), which begin after `after_seq`."""
    stats = StepStats()
    watch = _Watch(stats.seconds)
    held, strange = unpack([frame for frame in frames if isinstance(frame, Frame)])
    watch.lap("unpack")
    works: list[Work] = []
    tables: list[Table] = []
    rejects: list[Reject] = []
    for part in _parts(held):
        work, table, refused = _part(part, steps, watch)
        tables.append(table)
        rejects += refused
        if strange:
            works.append(work)
    if strange:
        rejects += _left_over(strange, works, rejects)
    lost: Counter[tuple[int, str]] = Counter()
    for damage in frames:
        if isinstance(damage, Damage):
            lost.update(dict(damage.counts))
    block = Block(
        position=Position(log_id, frames[-1].last_seq),
        after_seq=after_seq,
        events=put_together(tables),
        quarantine=quarantine_table(rejects),
        batches=batches_table(held),
        lost=dict(lost),
        replays=any(item.kind == Kind.REPLAY for item in held),
    )
    watch.lap("arrow")
    stats.events = sum(frame.n for frame in frames)
    stats.batches = len(held)
    stats.rejects.update(Counter((reject.step, reject.code) for reject in rejects))
    return block, stats


def _parts(held: Sequence[Held]) -> Iterator[Sequence[Held]]:
    """Of up to PART_EVENTS events, but at least one request; at least one part."""
    begin = events = 0
    for place, item in enumerate(held):
        if place > begin and events + item.batch.n > PART_EVENTS:
            yield held[begin:place]
            begin, events = place, 0
        events += item.batch.n
    yield held[begin:]


def _part(held: Sequence[Held], steps: Sequence[Step], watch: "_Watch") -> tuple[Work, Table, list[Reject]]:
    work, rejects = decode(held)
    watch.lap("decode")
    for step in steps:
        work, refused = run_step(step, work)
        rejects += refused
        watch.lap(step.__name__)
    work, table, refused = _to_arrow(work)
    watch.lap("arrow")
    return work, table, rejects + refused


def run_step(step: Step, work: Work) -> tuple[Work, list[Reject]]:
    """The batch after the step; where it breaks, event by event, so that only those leave that break it alone.

    Errors of the machine (OSError, MemoryError) are no fault of the data and pass through.
    """
    try:
        return step(work), []
    except (OSError, MemoryError):
        raise
    except Exception:
        return _event_by_event(step, work)


def _to_arrow(work: Work) -> tuple[Work, Table, list[Reject]]:
    try:
        return work, arrow(work), []
    except (OSError, MemoryError):
        raise
    except Exception:
        work, rejects = _event_by_event(_arrow_each, work)
        return work, arrow(work), rejects


def _arrow_each(work: Work) -> Work:
    arrow(work)
    return work


_arrow_each.__name__ = "arrow"


def _event_by_event(step: Step, work: Work) -> tuple[Work, list[Reject]]:
    done = [step(work.only([]))]
    rejects: list[Reject] = []
    texts: dict[int, list[bytes]] = {}
    for place in range(len(work.rows)):
        try:
            done.append(step(work.only([place])))
        except (OSError, MemoryError):
            raise
        except Exception as error:
            owner = work.owner[place]
            held = work.held[owner]
            if owner not in texts:
                texts[owner] = wire.texts_of(held.batch)
            index = work.seq[place] - held.first_seq
            why = f"{type(error).__name__}: {error}"
            rejects.append(broken(held, index, step.__name__, STEP_FAILED, why, texts[owner][index]))
    return joined(done), rejects


def _left_over(strange: Sequence[Unreadable], works: Sequence[Work], rejects: Sequence[Reject]) -> list[Reject]:
    """Events of entries that are no batch, frame by frame: what a header leaves over belongs to its own entries."""
    found: list[Reject] = []
    for _, group in groupby(strange, key=lambda entry: entry.frame.first_seq):
        entries = list(group)
        found += unreadable(entries, _counted(works, rejects, entries[0].frame))
    return found


def _counted(works: Sequence[Work], rejects: Sequence[Reject], frame: Frame) -> Counter[tuple[int, str]]:
    """Events of a frame that were read, by (minute, ledger label)."""
    within = range(frame.first_seq, frame.last_seq + 1)
    counted: Counter[tuple[int, str]] = Counter()
    for work in works:
        rows = zip(work.seq, work.columns["received_us"], work.columns["source_label"], strict=True)
        counted.update((minute_of(us), label) for seq, us, label in rows if seq in within)
    counted.update((minute_of(each.received_us), each.source_label) for each in rejects if each.seq in within)
    return counted


class _Watch:
    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds
        self.last = perf_counter()

    def lap(self, stage: str) -> None:
        now = perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self.last
        self.last = now
