"""The log on a disk that fails: at every operation of many short lives."""

from pathlib import Path

import pytest
from tests.faults.kinds import crash_log_at, fault_log, log_operations, rot_log


def every_operation(folder: Path, workloads: range, tears: int, faults: int, stride: int = 1) -> None:
    for workload in workloads:
        operations = log_operations(folder, workload)
        for operation in range(1, operations + 2, stride):
            crash_log_at(folder, workload, operation, range(tears))
            for choice in range(faults):
                fault_log(folder, f"fault-log/{workload}/{operation}/{choice}")


def rotten(folder: Path, workloads: range, choices: int) -> None:
    for workload in workloads:
        for choice in range(choices):
            rot_log(folder, f"rot-log/{workload}/{choice}")


def test_no_operation_of_the_log_is_one_at_which_a_crash_or_a_failure_loses_or_doubles(ram: Path) -> None:
    every_operation(ram, range(3), tears=3, faults=2, stride=5)


def test_a_damaged_or_lost_file_of_a_log_is_named_or_costs_nothing(ram: Path) -> None:
    rotten(ram, range(30), choices=4)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("chunk", range(5))
def test_many_lives_of_a_log(ram: Path, chunk: int) -> None:
    every_operation(ram, range(10 + chunk * 2, 12 + chunk * 2), tears=4, faults=4)
    rotten(ram, range(1000 + chunk * 50, 1050 + chunk * 50), choices=8)
