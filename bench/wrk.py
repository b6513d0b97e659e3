"""Load by wrk: bodies from a pool of templates, every id unique, results parsed."""

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench import bodies

SCRIPT = r"""
-- Each body of the pool is cut at the first 12 hex digits of its ids; a counter takes their place.
local pool, at, serial = {}, 0, %(first)d
for _, path in ipairs({%(paths)s}) do
  local text = io.open(path, "rb"):read("*a")
  local pieces = {}
  for piece in (text .. "\1"):gmatch("(.-)\1") do pieces[#pieces + 1] = piece end
  pool[#pool + 1] = pieces
end
local headers = { %(headers)s }
function request()
  at = at %% #pool + 1
  local pieces, out = pool[at], {}
  for i = 1, #pieces - 1 do
    serial = serial + 1
    out[2 * i - 1] = pieces[i]
    out[2 * i] = string.format("%%08x-%%04x", math.floor(serial / 65536), serial %% 65536)
  end
  out[#out + 1] = pieces[#pieces]
  return wrk.format("POST", "%(path)s", headers, table.concat(out))
end
local threads = {}
function setup(thread) thread:set("serial_base", #threads); threads[#threads + 1] = thread end
function done(summary, latency, requests)
  io.write(string.format("FIGURES %%d %%d %%d %%d %%d %%d %%d\n", summary.duration, summary.requests,
    summary.errors.status, summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
"""


@dataclass
class Load:
    events_per_second: float
    requests: int
    refused: int
    broken: int
    p50_ms: float
    p99_ms: float


def available() -> bool:
    return shutil.which("wrk") is not None


def load(
    address: str,
    batch: int,
    connections: int,
    seconds: float,
    *,
    key: str | None = None,
    first: int = 0,
    pool: int = 32,
) -> Load:
    """POST batches of `batch` events over one wrk thread. `first` keeps ids of several loads apart."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number in range(pool):
            path = Path(folder) / f"{number}.json"
            path.write_bytes(cut_ids(bodies.body(batch, seed=number)))
            paths.append(f'"{path}"')
        headers = ['["Content-Type"] = "application/json"']
        if key:
            headers.append(f'["Authorization"] = "Bearer {key}"')
        values = {"first": first, "paths": ", ".join(paths), "headers": ", ".join(headers), "path": "/api/v1/events"}
        script = Path(folder) / "load.lua"
        script.write_text(SCRIPT % values)
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "10s", "-s", script, address]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"FIGURES (\d+) (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)", printed)
    assert found, printed
    duration, requests, refused, broken, p50, p99, _ = map(int, found.groups())
    good = requests - refused
    return Load(good * batch / (duration / 1e6), requests, refused, broken, p50 / 1000, p99 / 1000)


def cut_ids(text: bytes) -> bytes:
    r"""`"id": "0123abcd-4567-…"` → a mark where the first 13 characters of the id stood."""
    return re.sub(rb'("id": ")[0-9a-f]{8}-[0-9a-f]{4}', b"\\1\x01", text)
