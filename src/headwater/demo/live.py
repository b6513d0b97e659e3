"""The shop goes on: a trickle of a few events a second at the present time, until told to stop."""

import threading
import time
from collections.abc import Callable, Mapping

from headwater.demo import facts, servers
from headwater.demo.rhythm import busy
from headwater.demo.sender import Sender, Totals
from headwater.demo.shop import Shop, body_of, founders_of
from headwater.domain.errors import Unavailable
from headwater.domain.events import DAY_US

EVENTS_PER_SECOND = 7.0
TICK_US = 1_000_000
WARM_UP_TICKS = 900
"""A quarter of an hour of visits before the first event is sent, so that the trickle begins at its full width."""
BEHIND_TICKS_MAX = 60
"""After a longer sleep of the machine the missed time is left out, not sent in a flood."""
LIFE_US = 3650 * DAY_US


def trickle(
    base_url: str,
    headers: Mapping[str, str],
    seed: int,
    stop: threading.Event,
    events_total: int = facts.EVENTS,
    now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
) -> Totals:
    """Send what happens in the shop, second by second, until `stop` is set; returns what was sent.

    With the `seed` and `events_total` of the loaded history the shop's first customers are the same people. Blocks:
    run it in a thread. Raises Refused or BadInput, and Unavailable when the collector is gone while not stopped.
    """
    shop = live_shop(seed, now_us(), events_total)
    tick = WARM_UP_TICKS
    sender = Sender(base_url, headers, pause=stop.wait)
    totals = Totals()
    while not stop.is_set():
        due = (now_us() - shop.start_us) // TICK_US
        if due <= tick:
            stop.wait(1.0 - (now_us() % TICK_US) / TICK_US)
            continue
        tick = max(tick, due - BEHIND_TICKS_MAX)
        texts = [text for number in range(tick, due) for text in second(shop, number)]
        tick = due
        if texts:
            try:
                totals.add(len(texts), sender.post(body_of(texts)))
            except Unavailable:
                if not stop.is_set():
                    raise
    sender.close()
    return totals


def live_shop(seed: int, now_us: int, events_total: int) -> Shop:
    """A shop whose tick WARM_UP_TICKS begins now, with its earlier ticks already lived through."""
    start_us = now_us // TICK_US * TICK_US - WARM_UP_TICKS * TICK_US
    shop = Shop(
        seed,
        start_us,
        start_us + LIFE_US,
        tick_us=TICK_US,
        history_end_us=facts.HOUR_US * -(-now_us // facts.HOUR_US),
        founders=founders_of(events_total),
        # Seconds since 1970 are above any number that a history gives, and no two trickles begin in the same one.
        first_number=start_us // 1_000_000,
    )
    for tick in range(WARM_UP_TICKS):
        second(shop, tick)
    return shop


def second(shop: Shop, tick: int) -> list[str]:
    """What arrives in one tick."""
    at_us = shop.start_us + tick * TICK_US
    if at_us // TICK_US % 60 == 0:
        servers.measure(shop, at_us)
    visits = EVENTS_PER_SECOND / facts.EVENTS_PER_VISIT * min(1.3, max(0.75, busy(at_us, shop.end_us)))
    return [text for _, text in shop.advance(tick, visits)]
