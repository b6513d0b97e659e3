"""One run again, by the seed that a failure printed."""

import os
from pathlib import Path

from tests.faults.kinds import repeat
from tests.faults.tally import SEED

if seed := os.environ.get(SEED):

    def test_repeat(ram: Path) -> None:
        assert seed is not None
        repeat(ram, seed)
