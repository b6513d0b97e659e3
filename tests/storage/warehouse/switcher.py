"""A process of its own, to be killed: a warehouse with rows, another built beside it, and the switch.

switcher.py FILE            seqs 1 and 2 in the old one; 1, 2 and 3 in the new, which takes its place; then 4
switcher.py FILE --open     only open it and close it
"""

import sys
from pathlib import Path

from headwater.storage.warehouse import open_warehouse

sys.path.insert(0, str(Path(__file__).parents[3]))
from tests.blocks import block, event

if __name__ == "__main__":
    warehouse = open_warehouse(f"duckdb://{sys.argv[1]}")
    if "--open" not in sys.argv:
        warehouse.load(block([event(1), event(2)], 2))
        new = warehouse.beside("other", 64 << 20)
        new.load(block([event(1), event(2)], 2))
        new.load(block([event(3, name="new")], 3, 2))
        warehouse.load(block([event(3, name="old")], 3, 2))
        warehouse.switch(new, lambda at: None)()
        warehouse.load(block([event(4)], 4, 3))
    warehouse.close()
