"""The kinds of run. A seed `kind/number/...` is everything there is to know to repeat one."""

import errno
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.faults.house_runs import OPAQUE, HouseLife, check_house
from tests.faults.lake_runs import LakeLife, check_lake, rot_is_named
from tests.faults.log_runs import LogLife, check_log
from tests.faults.simdisk import Fault, Op, PowerCut, SimDisk, files_below, flipped
from tests.faults.tally import TALLY

from headwater.domain.errors import Damaged, HeadwaterError
from headwater.storage.log.files import open_writer

LOG_STEPS = 10
LAKE_STEPS = 5
HOUSE_STEPS = 14
ERRORS = (errno.EIO, errno.ENOSPC, errno.EROFS, errno.EDQUOT)


def fresh(folder: Path) -> Path:
    """Empty, and not there yet."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


# Logs


def log_operations(folder: Path, workload: int) -> int:
    """How many operations that workload has on a disk without a fault."""
    root = fresh(folder / "count")
    with SimDisk(root) as disk:
        LogLife(root, workload, disk).run(LOG_STEPS)
    return len(disk.ops)


def crash_log(folder: Path, seed: str) -> None:
    """`crash-log/WORKLOAD/OPERATION/TEAR`: the power is cut at that operation; TEAR 0 is kill -9."""
    workload, operation, tear = map(int, seed.split("/")[1:])
    crash_log_at(folder, workload, operation, [tear])


def crash_log_at(folder: Path, workload: int, operation: int, tears: Sequence[int]) -> None:
    """One life, and all that may be left of it."""
    root = fresh(folder / "life")
    left = {f"crash-log/{workload}/{operation}/{tear}": (fresh(folder / f"after{tear}"), tear) for tear in tears}
    books: list[Any] = []

    def on_cut(disk: SimDisk) -> None:
        books.append(life.book.copy())
        for seed, (after, tear) in left.items():
            leave(disk, after, tear, seed)

    with SimDisk(root, {operation: Fault("cut")}, on_cut=on_cut) as disk:
        life = LogLife(root, workload, disk)
        life.run(LOG_STEPS)
        disk.power_off()
    for seed, (after, tear) in left.items():
        with TALLY.run(seed):
            TALLY.fault(seed, "kill -9" if tear == 0 else "power cut")
            if tear > 1:
                after = crash_recovery(folder, after, seed)
            check_log(after, books[0])
            TALLY.outcome(seed, "acknowledged entries found", len(books[0].acknowledged))


def leave(disk: SimDisk, after: Path, tear: int, seed: str) -> None:
    if tear == 0:
        disk.after_kill(after)
    else:
        disk.after_power_cut(after, random.Random(seed))


def crash_recovery(folder: Path, root: Path, seed: str) -> Path:
    """The power goes again while the log is opened; what is left then."""
    chance, after = random.Random(seed + "again"), fresh(folder / "after-again")
    faults = {chance.randint(1, 12): Fault("cut")}
    with SimDisk(root, faults, on_cut=lambda disk: disk.after_power_cut(after, chance)) as disk:
        try:
            open_writer(f"file://{root}/log", lambda outcomes: None).close()
        except PowerCut:
            TALLY.fault(seed, "power cut in recovery")
        disk.power_off()
    return after


def fault_log(folder: Path, seed: str) -> None:
    """`fault-log/WORKLOAD/OPERATION/CHOICE`: that operation fails or does less; then kill -9 or a power cut."""
    workload, operation, choice = map(int, seed.split("/")[1:])
    with TALLY.run(seed):
        chance = random.Random(seed)
        fault = io_fault(chance, choice)
        root, after = fresh(folder / "life"), fresh(folder / "after")
        books: list[Any] = []

        def on_cut(disk: SimDisk) -> None:
            books.append(life.book.copy())
            leave(disk, after, choice % 2, seed)

        with SimDisk(root, {operation: fault}, on_cut=on_cut) as disk:
            life = LogLife(root, workload, disk)
            life.run(LOG_STEPS)
            disk.power_off()
        for name, n in disk.met.items():
            TALLY.fault(seed, name, n)
        check_log(after, books[0])
        for code in books[0].refused.values():
            TALLY.outcome(seed, f"refused: {code}")
        TALLY.outcome(seed, "acknowledged entries found", len(books[0].acknowledged))


def io_fault(chance: random.Random, choice: int) -> Fault:
    match choice % 4:
        case 0:
            return Fault("error", chance.choice(ERRORS), part=chance.random(), times=1)
        case 1:
            return Fault("error", errno.EIO, part=chance.random(), times=chance.randint(2, 5))
        case 2:
            return Fault("full", room=chance.choice((0, 1, 30, 100, 600, 4096)), times=chance.randint(1, 12))
        case _:
            return Fault("short", part=chance.random(), times=chance.randint(1, 3))


def rot_log(folder: Path, seed: str) -> None:
    """`rot-log/WORKLOAD/CHOICE`: a log that was closed well has one file damaged or lost before it is opened again."""
    workload, choice = map(int, seed.split("/")[1:])
    with TALLY.run(seed):
        chance = random.Random(seed)
        root = fresh(folder / "life")
        with SimDisk(root) as disk:
            life = LogLife(root, workload, disk)
            life.run(LOG_STEPS)
        what = damage_one(root, chance, choice)
        TALLY.fault(seed, what)
        try:
            damages = check_log(root, life.book, damage=True)
        except Damaged as error:
            assert error.path and (error.hint or ";" in error.detail), f"{error.code} names no path or no cure: {error}"
            TALLY.outcome(seed, f"refused to start: {error.code}")
        except HeadwaterError as error:
            raise AssertionError(f"rot is told as {error.code}: {error}") from error
        else:
            TALLY.outcome(seed, "damage named" if damages else "nothing lost")
            TALLY.outcome(seed, "events named as lost", sum(damage.n for damage in damages))


def damage_one(root: Path, chance: random.Random, choice: int) -> str:
    """What was done to which file."""
    path = chance.choice([path for path in files_below(root) if path.name not in ("writer.lock", "lock")])
    content = path.read_bytes()
    kind = path.suffix.removeprefix(".") or (path.name if path.parent.name != "consumers" else "consumers")
    if choice % 4 == 0 or not content:
        path.unlink()
        return f"{kind} deleted"
    if choice % 4 == 1:
        path.write_bytes(content[: chance.randrange(len(content))])
        return f"{kind} cut short"
    if choice % 4 == 2:
        at = chance.randrange(len(content)) // 512 * 512
        length = chance.choice((512, 4096))
        path.write_bytes(content[:at] + bytes(min(length, len(content) - at)) + content[at + length :])
        return f"{kind}: sector of zeros"
    path.write_bytes(flipped(content, chance))
    return f"{kind}: flipped bit"


# Lakes


def lake_operations(folder: Path, workload: int) -> int:
    root = fresh(folder / "count")
    with SimDisk(root) as disk:
        LakeLife(root, workload, disk).run(LAKE_STEPS)
    return len(disk.ops)


def crash_lake(folder: Path, seed: str) -> None:
    """`crash-lake/WORKLOAD/OPERATION/TEAR`: the power is cut at that operation; TEAR 0 is kill -9."""
    workload, operation, tear = map(int, seed.split("/")[1:])
    crash_lake_at(folder, workload, operation, [tear])


def crash_lake_at(folder: Path, workload: int, operation: int, tears: Sequence[int]) -> None:
    root = fresh(folder / "life")
    left = {f"crash-lake/{workload}/{operation}/{tear}": (fresh(folder / f"after{tear}"), tear) for tear in tears}
    known: list[Any] = []

    def on_cut(disk: SimDisk) -> None:
        known.append((dict(life.tried), life.acknowledged))
        for seed, (after, tear) in left.items():
            leave(disk, after, tear, seed)

    with SimDisk(root, {operation: Fault("cut")}, on_cut=on_cut) as disk:
        life = LakeLife(root, workload, disk)
        life.run(LAKE_STEPS)
        disk.power_off()
    for seed, (after, tear) in left.items():
        with TALLY.run(seed):
            TALLY.fault(seed, "kill -9" if tear == 0 else "power cut")
            check_lake(after, *known[0])
            TALLY.outcome(seed, "acknowledged appends found", len(known[0][0]) - 1)


def fault_lake(folder: Path, seed: str) -> None:
    """`fault-lake/WORKLOAD/OPERATION/CHOICE`: that operation fails; then a clean end or a power cut."""
    workload, operation, choice = map(int, seed.split("/")[1:])
    with TALLY.run(seed):
        root, after = fresh(folder / "life"), fresh(folder / "after")
        known: list[Any] = []

        def on_cut(disk: SimDisk) -> None:
            known.append((dict(life.tried), life.acknowledged))
            leave(disk, after, choice % 2, seed)

        with SimDisk(root, {operation: io_fault(random.Random(seed), choice)}, on_cut=on_cut) as disk:
            life = LakeLife(root, workload, disk)
            life.run(LAKE_STEPS)
            disk.power_off()
        for name, n in disk.met.items():
            TALLY.fault(seed, name, n)
        for code in life.codes:
            TALLY.outcome(seed, f"refused: {code}")
        check_lake(after, *known[0])
        TALLY.outcome(seed, "acknowledged appends found", len(known[0][0]) - 1)


def rot_lake(folder: Path, seed: str) -> None:
    """`rot-lake/WORKLOAD/CHOICE`: a lake that was closed well has one file damaged or lost."""
    workload, choice = map(int, seed.split("/")[1:])
    with TALLY.run(seed):
        root = fresh(folder / "life")
        with SimDisk(root) as disk:
            life = LakeLife(root, workload, disk)
            life.run(LAKE_STEPS)
        TALLY.fault(seed, damage_one(root, random.Random(seed), choice))
        TALLY.outcome(seed, rot_is_named(root, life.tried, life.acknowledged))


# Houses


def house_operations(folder: Path, workload: int) -> list[Op]:
    root = fresh(folder / "count")
    with SimDisk(root, opaque=OPAQUE) as disk:
        HouseLife(root, workload, disk).run(HOUSE_STEPS)
    return disk.ops


def crash_house(folder: Path, seed: str) -> None:
    """`crash-house/WORKLOAD/OPERATION/TEAR`: the power is cut at that operation; TEAR 0 is kill -9."""
    house_run(folder, seed, Fault("cut"), int(seed.split("/")[3]))


def fault_house(folder: Path, seed: str) -> None:
    """`fault-house/WORKLOAD/OPERATION/CHOICE`: that operation of log or lake fails; then a power cut."""
    choice = int(seed.split("/")[3])
    house_run(folder, seed, io_fault(random.Random(seed), choice), choice % 2)


def house_run(folder: Path, seed: str, fault: Fault, tear: int) -> None:
    workload, operation = map(int, seed.split("/")[1:3])
    with TALLY.run(seed):
        root, after = fresh(folder / "life"), fresh(folder / "after")
        known: list[Any] = []

        def on_cut(disk: SimDisk) -> None:
            known.append((life.book.copy(), life.now_us))
            leave(disk, after, tear, seed)
            if tear and life.tear_wal(after, random.Random(seed)):
                TALLY.fault(seed, "commit torn in the warehouse's log")

        with SimDisk(root, {operation: fault}, on_cut=on_cut, opaque=OPAQUE) as disk:
            life = HouseLife(root, workload, disk)
            life.run(HOUSE_STEPS)
        for name, n in disk.met.items():
            TALLY.fault(seed, name if name != "cut" else "power cut" if tear else "kill -9", n)
        for code, n in life.told.items():
            TALLY.outcome(seed, f"told: {code}", n)
        totals = check_house(after, *known[0], again=operation % 2 == 0)
        for name, n in totals.items():
            TALLY.outcome(seed, name, n)


KINDS: dict[str, Callable[[Path, str], None]] = {
    "crash-log": crash_log,
    "fault-log": fault_log,
    "rot-log": rot_log,
    "crash-lake": crash_lake,
    "fault-lake": fault_lake,
    "rot-lake": rot_lake,
    "crash-house": crash_house,
    "fault-house": fault_house,
}


def repeat(folder: Path, seed: str) -> None:
    KINDS[seed.partition("/")[0]](folder, seed)
