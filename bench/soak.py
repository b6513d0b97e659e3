"""`python -m bench.soak [--minutes 30] [--rate 20000] [--into FOLDER]`: does anything grow?

The product on a fresh folder under traffic as it comes in practice, with questions meanwhile; what it uses is looked at
every 5 s. In the end everything that was sent must be accounted for to the event, and memory, handles and threads must
not have risen over the last two thirds. Exits 1 where one of these does not hold.

Runs of less than 10 minutes are trials: no verdict on slopes is worth anything there, and unless `--into` names a
folder nothing is kept in docs/reliability.
"""

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.served import Served

from bench import report
from bench.clients import Paced
from bench.curve import Panel, svg
from bench.mixed import SCHEMA
from bench.probes import at
from bench.product import WORK, address, folder, product
from bench.report import Row
from bench.samples import Sample, Watch, write_csv
from bench.steady import Steady, steady
from bench.visitors import Visitors

DOCS = Path(__file__).parents[1] / "docs" / "reliability"
BATCH = 100
SAMPLE_SECONDS = 5.0
TRIAL_MINUTES_MAX = 10
KEPT_MIN = 0.97
WARM_SECONDS = 10.0
MEMORY_MB_MAX = 600.0
MEMORY_MB_PER_HOUR_MAX = 40.0
"""Over 20 minutes of samples that scatter by 20 MB the slope is known to about 13 MB an hour: three times that."""
HANDLES_PER_HOUR_MAX, THREADS_PER_HOUR_MAX = 6.0, 3.0
VISIBLE_MS_MAX = 250.0


def main(arguments: Sequence[str]) -> int:
    options = argparse.ArgumentParser(prog="python -m bench.soak")
    options.add_argument("--minutes", type=float, default=30)
    options.add_argument("--rate", type=int, default=20_000, help="events a second")
    options.add_argument("--into", type=Path, help="where soak.svg, soak.csv and soak.json go")
    given = options.parse_args(arguments)
    trial = given.minutes < TRIAL_MINUTES_MAX
    into = given.into or (WORK / "soak" if trial else DOCS)
    samples, account = run(given.minutes, given.rate)
    told = verdict(samples, account, given.rate)
    into.mkdir(parents=True, exist_ok=True)
    write_csv(into / "soak.csv", samples)
    (into / "soak.svg").write_text(drawn(samples, given.rate))
    (into / "soak.json").write_text(json.dumps(told, indent=2) + "\n")
    report.append([row_of(told)], quick=trial)
    for line in told["says"]:
        print(line)
    print(f"{'a trial: ' if trial else ''}samples, curve and summary are in {into}")
    return 0 if told["holds"] or (trial and account["exact"]) else 1


def run(minutes: float, rate: int) -> tuple[list[Sample], dict[str, Any]]:
    """The samples, and what became of what was sent."""
    with folder() as place, product(place / "data") as served:
        status, _, answer = served.ask("PUT", "/api/v1/schemas/purchase@1", SCHEMA)
        assert status in (200, 201), answer
        paced = Paced(address(served), served.keys["sk"], rate, BATCH, 60 * minutes, "mixed")
        try:
            with Visitors(served) as visitors:
                samples, sent = watched(served, paced, visitors)
                visitors.end()
            return samples, account_of(served, sent, visitors)
        except BaseException:
            ended = served.process.poll() if served.process else None
            print(f"the product {'runs' if ended is None else f'ended with {ended}'}; its last words:", file=sys.stderr)
            print(served.said()[-4000:], file=sys.stderr)
            raise
        finally:
            paced.process.kill()


def watched(served: Served, paced: Paced, visitors: Visitors) -> tuple[list[Sample], dict[str, float]]:
    """Until the clients have ended: samples, and what they say of themselves."""
    lines: list[dict[str, float]] = []
    reading = threading.Thread(target=lambda: lines.extend(paced.told()))
    reading.start()
    watch, samples = Watch(served), []
    begin, seen, asked = time.perf_counter(), 0, 0
    while reading.is_alive():
        reading.join(max(0.0, begin + len(samples) * SAMPLE_SECONDS - time.perf_counter()))
        visitors.check()
        visible, answers = visitors.visible[seen:], visitors.answers[asked:]
        seen, asked = seen + len(visible), asked + len(answers)
        latest = lines[-1] if lines and "repeats" not in lines[-1] else {}
        sample = watch.sample(time.perf_counter() - begin, latest, visible, answers)
        if reading.is_alive():
            samples.append(sample)
            show(sample)
    if paced.process.wait() or not lines or "repeats" not in lines[-1]:
        raise RuntimeError("the clients failed")
    return samples, lines[-1]


def show(sample: Sample) -> None:
    said = f"{sample.memory_mb:.0f} MB, {sample.events_per_second:.0f} events/s, {sample.cpu_percent:.0f} % of a core"
    late = f"acknowledged in {sample.ack_p99_ms:.0f} ms, behind by {sample.process_lag:.0f}"
    print(f"{sample.seconds:6.0f} s  {said}, {late}", file=sys.stderr, flush=True)


def account_of(served: Served, sent: dict[str, float], visitors: Visitors) -> dict[str, Any]:
    """What was sent against what the ledger and a question say."""
    totals = served.settled(120)
    expected = {
        "received": sent["events"] + visitors.probes,
        "stored": sent["events"] + visitors.probes - sent["repeats"] - sent["broken"],
        "duplicate": sent["repeats"],
        "quarantined": sent["broken"],
        "lost": 0,
    }
    found = {name: totals[name] for name in expected} | {"counted": served.count()}
    found["quarantined"] += totals["suppressed"]
    expected["counted"] = expected["stored"]
    exact = bool(totals["balanced"]) and all(found[name] == expected[name] for name in expected)
    return {"sent": sent, "expected": expected, "found": found, "balanced": totals["balanced"], "exact": exact} | {
        "visible": visitors.visible,
        "answers": visitors.answers,
    }


def verdict(samples: Sequence[Sample], account: dict[str, Any], rate: int) -> dict[str, Any]:
    seconds = [sample.seconds for sample in samples]
    slopes = [
        steady("memory", "MB", seconds, [each.memory_mb for each in samples], MEMORY_MB_PER_HOUR_MAX),
        steady("file handles", "handles", seconds, [each.handles for each in samples], HANDLES_PER_HOUR_MAX),
        steady("threads", "threads", seconds, [each.threads for each in samples], THREADS_PER_HOUR_MAX),
    ]
    sent = account["sent"]
    late = sorted(account["visible"][int(WARM_SECONDS) :])
    answers = sorted(account["answers"])
    kept = sent["events/s"] >= KEPT_MIN * rate and not sent["refused"]
    figures = {
        "minutes": round(seconds[-1] / 60, 1),
        "events": sent["events"],
        "events/s": round(sent["events/s"]),
        "ack p99 ms": round(sent["ack p99 ms"], 1),
        "visible p50 ms": round(at(late, 0.5), 1),
        "visible p99 ms": round(at(late, 0.99), 1),
        "visible max ms": round(late[-1], 1),
        "answer p50 ms": round(at(answers, 0.5), 1),
        "answer p99 ms": round(at(answers, 0.99), 1),
        "memory median MB": round(slopes[0].median),
        "memory peak MB": round(slopes[0].peak),
        "memory MB/h": round(slopes[0].slope_per_hour, 1),
        "handles/h": round(slopes[1].slope_per_hour, 1),
        "threads/h": round(slopes[2].slope_per_hour, 1),
        "process lag max": max(each.process_lag for each in samples),
        "WAL max MB": max(each.wal_mb for each in samples),
    }
    holds = account["exact"] and kept and slopes[0].peak <= MEMORY_MB_MAX and all(each.holds for each in slopes)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "revision": report.revision(),
        "machine": report.machine(),
        "holds": holds,
        "exact": account["exact"],
        "balanced": account["balanced"],
        "sent": {name: sent[name] for name in ("events", "repeats", "broken", "refused")},
        "expected": account["expected"],
        "found": account["found"],
        "figures": figures,
        "steady": [asdict(each) | {"holds": each.holds} for each in slopes],
        "says": says(slopes, account, figures, kept, rate),
    }


def says(
    slopes: Sequence[Steady], account: dict[str, Any], figures: dict[str, Any], kept: bool, rate: int
) -> list[str]:
    """For people."""
    lines = [str(each) for each in slopes]
    lines[0] += "" if slopes[0].peak <= MEMORY_MB_MAX else f": MORE THAN {MEMORY_MB_MAX:.0f} MB"
    word = "kept" if kept else "NOT KEPT"
    lines.append(f"rate: {word}, {figures['events/s']:,} of {rate:,} events/s; {account['sent']['refused']} refused")
    if account["exact"]:
        lines.append(f"accounted for: all of {account['expected']['received']:,.0f} events, and the ledger balances")
    else:
        lines.append(f"NOT ACCOUNTED FOR: expected {account['expected']}, found {account['found']}")
    late = f"p99 {figures['visible p99 ms']} ms, at most {figures['visible max ms']} ms"
    lines.append(f"visible after acknowledgement: p50 {figures['visible p50 ms']} ms, {late}")
    return lines


def row_of(told: dict[str, Any]) -> Row:
    what = f"memory slope over the last two thirds of {told['figures']['minutes']} minutes"
    slope = told["steady"][0]["slope_per_hour"]
    note = "" if told["holds"] else "; ".join(told["says"])
    return Row(
        "soak", what, slope, "MB/h", MEMORY_MB_PER_HOUR_MAX, more_is_better=False, absolute=told["figures"], note=note
    )


def drawn(samples: Sequence[Sample], rate: int) -> str:
    def line(name: str) -> list[float | None]:
        return [getattr(sample, name) for sample in samples]

    panels = [
        Panel("memory, MB", [("PSS", line("memory_mb"))], bound=MEMORY_MB_MAX),
        Panel("events a second", [("answered", line("events_per_second"))], bound=rate),
        Panel("ms", [("visible, slowest", line("visible_ms")), ("acknowledged, p99", line("ack_p99_ms"))]),
        Panel("events behind", [("warehouse", line("process_lag")), ("lake", line("lake_lag"))]),
        Panel("CPU, % of one core", [("product", line("cpu_percent"))]),
        Panel("file handles and threads", [("handles", line("handles")), ("threads", line("threads"))]),
        Panel("on disk, MB", [("warehouse", line("warehouse_mb")), ("lake", line("lake_mb")), ("log", line("log_mb"))]),
        Panel("write-ahead log, MB", [("WAL", line("wal_mb"))]),
    ]
    shared = f"{os.cpu_count()} cores shared with the clients"
    title = f"{samples[-1].seconds / 60:.0f} minutes at {rate:,} events a second, {shared}"
    return svg(title, [sample.seconds / 60 for sample in samples], panels)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
