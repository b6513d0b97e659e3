"""The shop's machines: how busy and how slow they are, every few minutes."""

import math

from headwater.demo.facts import HOUR_US
from headwater.demo.rhythm import busy
from headwater.demo.visits import Town

HOSTS = ("web-1", "web-2", "db-1")
MEASURES = 2
"""Events of one host at one instant: its CPU and its latency."""
SHARE = 0.16
"""Of all events, at most."""
_INTERVALS_MINUTES = (5, 10, 15, 30, 60)


def interval_us(events: int, start_us: int, end_us: int) -> int:
    """Five minutes, or as much longer as keeps a small demo from being all machines."""
    for minutes in _INTERVALS_MINUTES:
        rounds = (end_us - start_us) / (minutes * 60_000_000)
        if rounds * len(HOSTS) * MEASURES <= events * SHARE:
            break
    return minutes * 60_000_000


def measure(town: Town, at_us: int) -> None:
    """One round: every host tells its CPU and its latency."""
    rng = town.rng
    load = busy(at_us, town.end_us)
    stamp = town.clock.stamp(at_us)
    for host in HOSTS:
        # The database works through a backup for an hour every night at 02:00 UTC.
        extra = 25.0 if host == "db-1" and at_us // HOUR_US % 24 == 2 else 0.0
        cpu = min(99.0, max(1.0, 9.0 + 22.0 * load + extra + rng.gauss(0.0, 2.5)))
        latency_ms = 12.0 + 0.35 * cpu * math.exp(0.12 * rng.gauss(0.0, 1.0))
        put(town, at_us, stamp, host, "server_cpu", f'"percent":{cpu:.1f}')
        put(town, at_us, stamp, host, "server_latency", f'"latencyMs":{latency_ms:.2f}')


def put(town: Town, at_us: int, stamp: str, host: str, name: str, value: str) -> None:
    bits = town.rng.getrandbits(122)
    text = (
        f'{{"id":"{uuid_text(bits)}","type":"SYSTEM_METRIC","name":"{name}","source":"servers","timestamp":"{stamp}",'
        f'"data":{{"attributes":{{{value},"host":"{host}","region":"eu-central"}},"metadata":{{}}}},"version":"1"}}'
    )
    town.outbox.put(at_us, text)


def uuid_text(bits: int) -> str:
    """A version 4 UUID from 122 random bits."""
    high, low = bits >> 62, bits & (1 << 62) - 1
    front, back = f"{high:015x}", f"{low | 1 << 63:016x}"
    return f"{front[:8]}-{front[8:12]}-4{front[12:]}-{back[:4]}-{back[4:]}"
