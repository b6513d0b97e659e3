"""`python -m bench [--quick] [NAME …]`: every promise of speed, or those named; prints the table, keeps the rows.

--quick takes a fifth of the time to see that all of it works; its numbers say little. Exits 1 when a bench broke; a
promise that is missed is said in the table.
"""

import importlib
import os
import sys
import time
import traceback

from bench import report
from bench.report import Row, not_measured
from bench.run import Run

NAMES = (
    "decode",
    "memory",
    "restart",
    "bytes_per_event",
    "duplicates",
    "ingest_collect",
    "sustained",
    "freshness",
    "seal",
    "retention",
    "replay",
    "lake_care",
)
LOAD_MAX = 1.5


def main(arguments: list[str]) -> int:
    quick = "--quick" in arguments
    named = [each for each in arguments if each != "--quick"]
    if unknown := set(named).difference(NAMES):
        print(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    busy = os.getloadavg()[0]
    if busy > LOAD_MAX:
        print(f"the machine is busy (load {busy:.1f}): what follows is noisy", file=sys.stderr)
    rows: list[Row] = []
    broken = 0
    with Run(quick) as run:
        for name in named or NAMES:
            begin = time.perf_counter()
            found = measure(name, run)
            broken += any(row.measured is None and row.note.startswith("broke") for row in found)
            print(f"{name}: {time.perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)
            rows += found
            report.append(found, quick)
    print(report.table(rows))
    return 1 if broken else 0


def measure(name: str, run: Run) -> list[Row]:
    try:
        return importlib.import_module(f"bench.{name}").rows(run)
    except Exception as error:  # one bench that breaks must not hide the numbers of the others
        traceback.print_exc()
        return [not_measured(name, name, "", f"broke: {type(error).__name__}: {str(error)[:200]}")]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
