"""Load by wrk: bodies from a pool of templates, every id and time of its own, results parsed."""

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from bench import bodies

SCRIPT = r"""
-- Bodies of the pool are cut at the first 12 hex digits of each id and at each timestamp's second. A counter takes the
-- place of the digits, turned so that neighbours share none: what they share would compress better than life does.
local pool, at, serial, second, stamp = {}, 0, %(first)d, 0, ""
for _, path in ipairs({%(paths)s}) do
  local text = io.open(path, "rb"):read("*a")
  local out, ids, seconds, from = {}, {}, {}, 1
  for place, mark in text:gmatch("()([\1\2])") do
    out[#out + 1] = text:sub(from, place - 1)
    out[#out + 1] = ""
    local where = mark == "\1" and ids or seconds
    where[#where + 1] = #out
    from = place + 1
  end
  out[#out + 1] = text:sub(from)
  pool[#pool + 1] = { out = out, ids = ids, seconds = seconds }
end
local headers = { %(headers)s }
local format, floor, concat, time = string.format, math.floor, table.concat, os.time
function request()
  at = at %% #pool + 1
  local body, now = pool[at], time()
  if now ~= second then second, stamp = now, os.date("!%%Y-%%m-%%dT%%H:%%M:%%S", now - 1) end
  local out, ids, seconds = body.out, body.ids, body.seconds
  for i = 1, #ids do
    serial = serial + 1
    local low = serial * 9521737 %% 16777216
    local high = (floor(serial / 16777216) * 7654321 + low * 5) %% 16777216
    out[ids[i]] = format("%%06x%%02x-%%04x", high, floor(low / 65536), low %% 65536)
    out[seconds[i]] = stamp
  end
  return wrk.format("POST", "%(path)s", headers, concat(out))
end
function done(summary, latency, requests)
  io.write(format("FIGURES %%d %%d %%d %%d %%d %%d %%d\n", summary.duration, summary.requests,
    summary.errors.status, summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
"""
IDS_PER_LOAD = 1 << 30
LOADS = count(1)


@dataclass
class Load:
    events_per_second: float
    requests: int
    refused: int
    """Answered with something else than 2xx or 3xx."""
    broken: int
    p50_ms: float
    p99_ms: float


def missing() -> str | None:
    """What to install, where wrk is not there."""
    return None if shutil.which("wrk") else "wrk is not installed; on Debian: apt-get install wrk"


def load(
    address: str, batch: int, connections: int, seconds: float, *, key: str | None = None, pool: int | None = None
) -> Load:
    """POST batches of `batch` events over one wrk thread. No id is sent twice by one process."""
    # A pool larger than lz4 looks back in a frame of small bodies: the same body twice would be one.
    pool = pool or max(16, 512 // batch)
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number in range(pool):
            path = Path(folder) / f"{number}.json"
            path.write_bytes(bodies.cut(bodies.body(batch, seed=number)))
            paths.append(f'"{path}"')
        headers = ['["Content-Type"] = "application/json"']
        if key:
            headers.append(f'["Authorization"] = "Bearer {key}"')
        values = {
            "first": next(LOADS) * IDS_PER_LOAD,
            "paths": ", ".join(paths),
            "headers": ", ".join(headers),
            "path": "/api/v1/events",
        }
        script = Path(folder) / "load.lua"
        script.write_text(SCRIPT % values)
        whole = max(1, round(seconds))
        command = ["wrk", "-t1", f"-c{connections}", f"-d{whole}s", "--timeout", "10s", "-s", script, address]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"FIGURES (\d+) (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)", printed)
    assert found, printed
    duration, requests, refused, broken, p50, p99, _ = map(int, found.groups())
    good = requests - refused
    return Load(good * batch / (duration / 1e6), requests, refused, broken, p50 / 1000, p99 / 1000)
