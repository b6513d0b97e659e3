"""The lake on a disk that fails: at every operation of short lives."""

from pathlib import Path

import pytest
from tests.faults.kinds import crash_lake_at, fault_lake, lake_operations, rot_lake


def every_operation(folder: Path, workloads: range, tears: int, faults: int, stride: int = 1) -> None:
    for workload in workloads:
        for operation in range(1, lake_operations(folder, workload) + 2, stride):
            crash_lake_at(folder, workload, operation, range(tears))
            for choice in range(faults):
                fault_lake(folder, f"fault-lake/{workload}/{operation}/{choice}")


def test_no_operation_of_the_lake_is_one_at_which_a_crash_or_a_failure_loses_or_doubles(ram: Path) -> None:
    every_operation(ram, range(2), tears=2, faults=1, stride=11)


def test_a_damaged_or_lost_file_of_a_lake_is_named_or_costs_nothing(ram: Path) -> None:
    for workload in range(4):
        for choice in range(4):
            rot_lake(ram, f"rot-lake/{workload}/{choice}")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("chunk", range(3))
def test_many_lives_of_a_lake(ram: Path, chunk: int) -> None:
    every_operation(ram, range(10 + chunk, 11 + chunk), tears=3, faults=3, stride=2)
    for workload in range(1000 + chunk * 20, 1020 + chunk * 20):
        for choice in range(8):
            rot_lake(ram, f"rot-lake/{workload}/{choice}")
