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
-- Whole requests, marked where the first 12 hex digits of each id and the second of each timestamp stood. A counter
-- takes the digits' place, turned so that neighbours share none: what they share would compress better than life does.
-- Written in place: texts made for each event would cost the cores that the server runs on 1-2 us an event.
local ffi, bit = require("ffi"), require("bit")
local band, rshift = bit.band, bit.rshift
local hex = ffi.new("uint8_t[16]", { ("0123456789abcdef"):byte(1, 16) })
local pool, at, serial, second, stamp = {}, 0, %(first)d, 0, ""
for _, path in ipairs({%(paths)s}) do
  local text = io.open(path, "rb"):read("*a")
  local out, ids, seconds, from, length = {}, {}, {}, 1, 0
  for place, mark in text:gmatch("()([\1\2])") do
    local where, room = ids, 13
    if mark == "\2" then where, room = seconds, 19 end
    out[#out + 1] = text:sub(from, place - 1)
    out[#out + 1] = ("-"):rep(room)
    length = length + place - from
    where[#where + 1] = length
    length = length + room
    from = place + 1
  end
  out[#out + 1] = text:sub(from)
  local body = table.concat(out)
  local head = "POST %(path)s HTTP/1.1\r\nHost: bench\r\n%(headers)sContent-Length: " .. #body .. "\r\n\r\n"
  local whole = { size = #head + #body, count = #ids, second = 0 }
  whole.bytes = ffi.new("uint8_t[?]", whole.size)
  ffi.copy(whole.bytes, head .. body, whole.size)
  whole.ids, whole.seconds = ffi.new("int[?]", #ids), ffi.new("int[?]", #ids)
  for i = 1, #ids do
    whole.ids[i - 1], whole.seconds[i - 1] = #head + ids[i], #head + seconds[i]
  end
  pool[#pool + 1] = whole
end
local floor, time = math.floor, os.time
local function digits(bytes, place, value, shift, count)
  for i = 0, count - 1 do bytes[place + i] = hex[band(rshift(value, shift - 4 * i), 15)] end
end
function request()
  at = at %% #pool + 1
  local whole, now = pool[at], time()
  local bytes, ids, seconds = whole.bytes, whole.ids, whole.seconds
  if now ~= second then second, stamp = now, os.date("!%%Y-%%m-%%dT%%H:%%M:%%S", now - 1) end
  if whole.second ~= second then
    whole.second = second
    for i = 0, whole.count - 1 do ffi.copy(bytes + seconds[i], stamp, 19) end
  end
  for i = 0, whole.count - 1 do
    serial = serial + 1
    local low = serial * 9521737 %% 16777216
    local high = (floor(serial / 16777216) * 7654321 + low * 5) %% 16777216
    local place = ids[i]
    digits(bytes, place, high, 20, 6)
    digits(bytes, place + 6, low, 20, 2)
    digits(bytes, place + 9, low, 12, 4)
  end
  return ffi.string(bytes, whole.size)
end
function done(summary, latency, requests)
  io.write(string.format("FIGURES %%d %%d %%d %%d %%d %%d %%d\n", summary.duration, summary.requests,
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
        headers = "Content-Type: application/json\\r\\n"
        if key:
            headers += f"Authorization: Bearer {key}\\r\\n"
        values = {
            "first": next(LOADS) * IDS_PER_LOAD,
            "paths": ", ".join(paths),
            "headers": headers,
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
