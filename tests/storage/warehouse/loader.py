"""A process that loads, seals and checkpoints until it is killed: `loader.py URL`.

Prints `loaded SEQ` after each load. Every tenth event is a repeat of an earlier one, every fiftieth is refused.
"""

import sys
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.blocks import block, event, refused

from headwater.storage.warehouse import open_warehouse

PER_LOAD = 200
LOADS_MAX = 5_000


def rows_of(first: int) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    rows, bad = [], []
    for seq in range(first, first + PER_LOAD):
        if seq % 50 == 0:
            bad.append(refused(seq))
        elif seq % 10 == 0:
            earlier = event(seq - 9)
            rows.append(event(seq, id=earlier["id"], created_us=earlier["created_us"]))
        else:
            rows.append(event(seq, attributes=f'{{"n": {seq}, "s": "{uuid.UUID(int=seq)}"}}'))
    return rows, bad


def main(url: str) -> None:
    warehouse = open_warehouse(url, seal_rows=1_500, seal_rows_min=1_500, wal_bytes_max=300_000)
    position = warehouse.position()
    seq = position.seq if position else 0
    print(f"loaded {seq}", flush=True)
    for _ in range(LOADS_MAX):
        rows, bad = rows_of(seq + 1)
        warehouse.load(block(rows, seq + PER_LOAD, seq, quarantine=bad))
        seq += PER_LOAD
        print(f"loaded {seq}", flush=True)
        warehouse.maintain()


if __name__ == "__main__":
    main(sys.argv[1])
