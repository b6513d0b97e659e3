"""Events judged again by the page get the verdicts that each would get alone."""

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from tests.replaying import NOON_US, PRICES, SENDERS, TO_NUMBER, purchase

from headwater.collect.bounds import Bounds
from headwater.collect.rejudge import Quarantined, Rejudge, batch_of
from headwater.domain.patches import parse_patch
from headwater.domain.schemas import rules_from

RULES = rules_from([PRICES], "allow", 1)
DAY_US = 86_400_000_000


def row(seq: int, event: Any, **columns: Any) -> Quarantined:
    known: dict[str, Any] = {
        "seq": seq,
        "id": f"{seq:032x}",
        "source": "site",
        "code": "X",
        "received_us": NOON_US + seq,
        "event": event if isinstance(event, str) else json.dumps(event),
        "batch_id": f"{seq:032x}",
        "first_seq": seq,
        "key_id": "key",
        "sent_us": None,
        "source_ip": None,
        "user_agent": None,
    }
    return Quarantined(**(known | columns))


def passed(
    rows: Sequence[Quarantined], patch: Any = TO_NUMBER, **bounds: int
) -> tuple[dict[int, bytes], dict[str, int]]:
    """(texts that pass by seq, how many are bad by code)."""
    rejudge = Rejudge(parse_patch(list(patch)), SENDERS.get, Bounds(**bounds))
    ready = rejudge.page(rows, RULES)
    texts = {seq: text for each in ready for seq, text in zip(each.seqs, each.texts, strict=True)}
    assert len(texts) == rejudge.tally.good and rejudge.tally.judged == len(rows)
    assert len(texts) + sum(rejudge.tally.bad.values()) == len(rows)
    for each in ready:
        batch = batch_of(each, 7)
        assert (batch.n, batch.replays_seq, batch.received_us) == (
            len(each.seqs),
            tuple(each.seqs),
            each.first.received_us,
        )
    return texts, rejudge.tally.bad


def random_row(chance: random.Random, seq: int) -> Quarantined:
    at = chance.choice(
        ["2026-11-24T11:00:00Z", "2026-11-25T11:59:59Z", "2026-11-25T12:00:01Z", "2026-10-01T00:00:00Z", "x"]
    )
    event = purchase(seq, chance.choice([1, "2", "x"]), timestamp=at, source=chance.choice(["web", "site", "other"]))
    if chance.random() < 0.2:
        del event["id"]
    text = "{broken" if chance.random() < 0.05 else event
    sent_us = chance.choice([None, None, None, NOON_US + DAY_US])
    received_us = NOON_US + chance.choice([0, DAY_US, 40 * DAY_US])
    return row(seq, text, key_id=chance.choice(["key", "page"]), sent_us=sent_us, received_us=received_us)


@pytest.mark.parametrize("seed", range(40))
def test_a_page_is_judged_as_its_events_are_one_by_one(seed: int) -> None:
    chance = random.Random(seed)
    rows = [random_row(chance, seq) for seq in range(1, chance.choice([3, 30]))]
    if seed % 2:
        rows = [each._replace(key_id="key", sent_us=None) for each in rows]
    texts, bad = passed(rows)
    alone = [passed([each]) for each in rows]
    assert texts == {seq: text for found, _ in alone for seq, text in found.items()}
    codes = [code for _, found in alone for code in found]
    assert bad == {code: codes.count(code) for code in set(codes)}


def test_events_of_one_request_stay_together_in_pieces_that_fit() -> None:
    rows = [row(seq, purchase(seq, "1"), first_seq=1, received_us=NOON_US) for seq in range(1, 8)]
    rejudge = Rejudge(parse_patch(TO_NUMBER), SENDERS.get, Bounds(batch_events_max=3))
    assert [each.seqs for each in rejudge.page(rows, RULES)] == [[1, 2, 3], [4, 5, 6], [7]]


def test_limits_of_today_hold() -> None:
    texts, bad = passed([row(1, purchase(1, "1"))], event_bytes_max=50)
    assert (texts, bad) == ({}, {"EVENT_TOO_LARGE": 1})


def test_an_event_of_a_request_that_nobody_knows_keeps_its_source() -> None:
    event = purchase(1, "1")
    del event["id"]
    texts, _ = passed([row(1, event, key_id=None, first_seq=None, batch_id=None, source="gone")])
    assert json.loads(texts[1])["id"] == f"{1:032x}"
    rejudge = Rejudge(parse_patch(TO_NUMBER), SENDERS.get, Bounds())
    (ready,) = rejudge.page([row(1, event, key_id=None, first_seq=None, batch_id=None, source="gone")], RULES)
    assert batch_of(ready, 1).source == "gone"
