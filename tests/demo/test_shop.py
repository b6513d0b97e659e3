import datetime as dt
import hashlib
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headwater.demo import facts, shop
from headwater.demo.outbox import BREAKS, Clock
from headwater.demo.servers import uuid_text
from headwater.domain.events import DAY_US, Event, EventType, datetime_of, us_of

END_US = us_of(dt.datetime(2026, 11, 24, 11, tzinfo=dt.UTC))
EVENTS = 100_000
Decoded = tuple[int, Event, dict[str, Any]]


class History:
    """The good events of one history, and what could not be decoded."""

    def __init__(self) -> None:
        self.good: list[Decoded] = []
        self.bad: list[str] = []
        decode, attributes = msgspec.json.Decoder(Event).decode, msgspec.json.Decoder(dict[str, Any]).decode
        for hour in shop.history(7, END_US, EVENTS):
            for arrived_us, text in hour:
                try:
                    event = decode(text)
                    self.good.append((arrived_us, event, attributes(event.data.attributes)))  # type: ignore[union-attr]
                except msgspec.ValidationError:
                    self.bad.append(text)

    def named(self, *names: str) -> list[Decoded]:
        return [one for one in self.good if one[1].name in names]


@pytest.fixture(scope="module")
def history() -> History:
    return History()


def digest(seed: int, end_us: int = END_US, events: int = 20_000) -> str:
    found = hashlib.sha256()
    for _, body in shop.bodies(seed, end_us, events):
        found.update(body)
    return found.hexdigest()


def test_the_same_seed_and_end_give_the_same_bytes_in_another_process_too() -> None:
    code = (
        "import hashlib; from headwater.demo import shop; found = hashlib.sha256()\n"
        f"for _, body in shop.bodies(7, {END_US}, 20_000): found.update(body)\nprint(found.hexdigest())"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={"PYTHONHASHSEED": "1"}
    )
    assert other.stdout.strip() == digest(7)


def test_another_seed_or_end_gives_another_stream() -> None:
    assert len({digest(7), digest(8), digest(7, END_US + facts.HOUR_US)}) == 3


@pytest.mark.parametrize("events", [20_000, 100_000])
def test_about_as_many_events_come_as_were_asked_for(events: int) -> None:
    sent = sum(n for n, _ in shop.bodies(7, END_US, events))
    assert abs(sent - events) < 0.05 * events


def test_bodies_are_json_arrays_of_the_size_they_say() -> None:
    for n, body in shop.bodies(7, END_US, 5_000):
        assert len(msgspec.json.decode(body, type=list[msgspec.Raw])) == n <= 1000


def test_events_arrive_in_order_and_happened_within_the_ninety_days(history: History) -> None:
    arrivals = [arrived_us for arrived_us, _, _ in history.good]
    assert arrivals == sorted(arrivals)
    ahead = 0
    for arrived_us, event, _ in history.good:
        created_us = us_of(event.timestamp)  # type: ignore[arg-type]
        if created_us > END_US:
            # The clocks that are wrong on purpose.
            ahead += 1
            continue
        assert END_US - facts.DAYS * DAY_US <= created_us <= arrived_us < END_US
    assert 0 < ahead < 0.001 * EVENTS


def test_all_types_all_sources_and_some_twenty_names_occur(history: History) -> None:
    names = Counter(event.name for _, event, _ in history.good)
    assert {event.type for _, event, _ in history.good} == set(EventType)
    assert {event.source for _, event, _ in history.good} == {"web", "ios", "android", "backend", "servers"}
    assert len(names) == 23
    assert min(names.values()) >= 5


def test_the_funnel_narrows_at_plausible_rates(history: History) -> None:
    count = Counter(event.name for _, event, _ in history.good)
    assert 0.3 < count["trial_started"] / count["signup"] < 0.6
    assert 0.3 < count["subscription_started"] / count["trial_ended"] < 0.55
    assert 0.05 < count["add_to_cart"] / count["product_view"] < 0.2
    assert 0.2 < count["checkout_started"] / count["add_to_cart"] < 0.6
    assert count["refund"] < 0.06 * count["purchase"]
    visitors = {event.actor for _, event, _ in history.named("page_view", "app_opened")}
    assert 0.1 < count["signup"] / len(visitors) < 0.5


def test_people_return_and_sessions_hold_one_actor(history: History) -> None:
    sessions: dict[str, set[object]] = {}
    visits: Counter[object] = Counter()
    for _, event, _ in history.named("page_view", "app_opened", "product_view", "purchase"):
        session = event.data.metadata.session_id  # type: ignore[union-attr]
        if session not in sessions:
            visits[event.actor] += 1
        sessions.setdefault(str(session), set()).add(event.actor)
    assert all(len(actors) == 1 for actors in sessions.values())
    assert 0.2 < sum(1 for n in visits.values() if n > 1) / len(visits) < 0.8


def test_days_grow_weeks_have_their_sunday_and_nights_are_quiet(history: History) -> None:
    times = [datetime_of(arrived_us) for arrived_us, _, _ in history.named("page_view", "product_view")]
    days = Counter((time - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)).days for time in times)
    ordered = [days[day] for day in sorted(days)][1:-1]
    assert 1.5 < sum(ordered[-28:]) / sum(ordered[:28]) < 3.0
    weekdays = Counter(time.weekday() for time in times)
    assert max(weekdays, key=weekdays.__getitem__) == 6
    german = Counter(
        datetime_of(arrived_us + facts.HOUR_US).hour
        for arrived_us, _, attributes in history.named("page_view")
        if attributes["country"] == "DE"
    )
    assert german[20] > 8 * german[3]
    japanese = Counter(
        datetime_of(arrived_us).hour for arrived_us, _, a in history.named("page_view") if a["country"] == "JP"
    )
    assert max(japanese, key=japanese.__getitem__) in range(8, 15)


def test_twelve_countries_come_by_rank(history: History) -> None:
    countries = Counter(attributes["country"] for _, _, attributes in history.named("page_view", "app_opened"))
    assert len(countries) == 12
    assert [country for country, _ in countries.most_common(4)] == ["DE", "US", "GB", "FR"]
    assert countries["DE"] > 5 * countries["IN"]
    currencies = {a["country"]: a["localCurrency"] for _, _, a in history.named("purchase") if "localCurrency" in a}
    assert currencies["US"] == "USD"
    assert currencies["FR"] == "EUR"


def test_app_versions_roll_out_one_after_the_other(history: History) -> None:
    seen: dict[str, list[int]] = {}
    for arrived_us, _, attributes in history.named("app_opened"):
        seen.setdefault(attributes["appVersion"], []).append(arrived_us)
    assert set(seen) == {version.name for version in facts.VERSIONS}
    for version in facts.VERSIONS[1:]:
        released_us = END_US - version.days_before_end * DAY_US
        assert min(seen[version.name]) >= released_us
    assert sorted(seen, key=lambda version: min(seen[version])) == [version.name for version in facts.VERSIONS]


def test_the_incident_fails_ten_times_as_often_as_everything_else() -> None:
    incident = facts.incident_of(END_US)
    inside: Counter[str] = Counter()
    outside: Counter[str] = Counter()
    for hour in shop.history(7, END_US, 350_000):
        for _, text in hour:
            if '"name":"purchase"' not in text and '"name":"checkout_failed"' not in text:
                continue
            event = msgspec.json.decode(text)
            attributes = event["data"]["attributes"]
            if not attributes:
                # One of the broken ones.
                continue
            hit = (
                Clock().stamp(incident.start_us) <= event["timestamp"] < Clock().stamp(incident.end_us)
                and attributes["country"] == incident.country
                and attributes["appVersion"] == incident.app_version
            )
            (inside if hit else outside)[event["name"]] += 1
            if attributes.get("reason") == facts.INCIDENT_REASON:
                assert hit or not event["timestamp"].startswith("20")
    rate = outside["checkout_failed"] / outside.total()
    assert inside["checkout_failed"] >= 10
    assert 0.02 < rate < 0.05
    assert inside["checkout_failed"] / inside.total() > 10 * rate


def test_duplicates_late_and_broken_events_come_at_their_rates(history: History) -> None:
    total = len(history.good) + len(history.bad)
    ids = Counter((event.source, event.id, event.timestamp) for _, event, _ in history.good)
    assert 0.003 < sum(n - 1 for n in ids.values()) / total < 0.007
    late = sum(at - us_of(event.timestamp) > facts.HOUR_US for at, event, _ in history.good)  # type: ignore[arg-type]
    assert 0.003 < late / total < 0.02
    texts = sum(isinstance(attributes["amount"], str) for _, _, attributes in history.named("purchase"))
    assert 0.01 < texts / len(history.named("purchase")) < 0.04
    assert 0.001 < len(history.bad) / total < 0.005


def test_every_kind_of_break_is_broken_in_its_own_way() -> None:
    text = next(text for hour in shop.history(7, END_US, 20_000) for _, text in hour if '"page_view"' in text)
    event = msgspec.json.decode(text, type=Event)
    seen = set()
    for damage in BREAKS:
        fields = msgspec.json.decode(damage(text))
        differing = {name for name in fields if fields[name] != msgspec.json.decode(text)[name]}
        assert len(differing) == 1
        seen.add((*differing, damage(text)))
    assert len(seen) == len(BREAKS)
    assert event.name == "page_view"


def test_prices_latencies_and_machines_are_in_their_ranges(history: History) -> None:
    amounts = [a["amount"] for _, _, a in history.named("purchase") if not isinstance(a["amount"], str)]
    assert min(amounts) >= 4
    assert max(amounts) < 1600
    assert 20 < sum(amounts) / len(amounts) < 90
    latencies = sorted(a["latencyMs"] for _, _, a in history.named("purchase"))
    assert 350 < latencies[len(latencies) // 2] < 500
    assert 800 < latencies[len(latencies) * 95 // 100] < 1400
    cpu = [a["percent"] for _, _, a in history.named("server_cpu")]
    assert 1 <= min(cpu) < 25
    assert 50 < max(cpu) <= 99


def test_stamps_and_ids_are_those_of_the_standard_library() -> None:
    clock = Clock()
    for us in (0, 999, END_US, END_US + 59 * 60_000_000 + 59_999_000, END_US + 3 * DAY_US + 1):
        assert dt.datetime.fromisoformat(clock.stamp(us)) == datetime_of(us // 1000 * 1000)
    for bits in (0, 1, (1 << 122) - 1, 1 << 121, 1 << 61):
        import uuid

        assert uuid.UUID(uuid_text(bits)).version == 4
        assert uuid.UUID(uuid_text(bits)).variant == uuid.RFC_4122


def test_ids_of_different_events_differ(history: History) -> None:
    texts: dict[object, set[object]] = {}
    for _, event, _ in history.good:
        texts.setdefault(event.id, set()).add((event.name, event.actor))
    assert all(len(found) == 1 for found in texts.values())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to see a peak of memory")
def test_three_million_events_take_less_than_a_hundred_megabytes() -> None:
    code = (
        "from pathlib import Path; from headwater.demo import shop\n"
        f"for _ in shop.bodies(7, {END_US}, 3_000_000): pass\n"
        "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 100 * 1024
