"""A whole house on a disk that fails: what was acknowledged is stored once, the ledger balances, a rebuild is equal."""

from pathlib import Path

import pytest
from tests.faults.kinds import crash_house, fault_house, house_operations


def some_operations(folder: Path, workload: int, stride: int) -> None:
    """Every crash point, and each so-manieth operation besides."""
    operations = house_operations(folder, workload)
    points = {number for number, op in enumerate(operations, 1) if op.name == "point"}
    for number in sorted(points | {*range(1 + workload % stride, len(operations) + 2, stride)}):
        crash_house(folder, f"crash-house/{workload}/{number}/{number % 3}")
        if number not in points:
            fault_house(folder, f"fault-house/{workload}/{number}/{number}")


def test_a_house_is_whole_after_a_crash_or_a_failure(ram: Path) -> None:
    some_operations(ram, 0, stride=110)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("workload", range(10, 14))
def test_many_lives_of_a_house(ram: Path, workload: int) -> None:
    some_operations(ram, workload, stride=10)
