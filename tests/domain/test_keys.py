import datetime as dt
from typing import Any

import msgspec
import pytest

from headwater.domain.errors import BadInput
from headwater.domain.keys import ALL_SCOPES, SCOPES, Key, checked_key

NOW = dt.datetime(2026, 11, 24, 10, tzinfo=dt.UTC)


def key(**changes: Any) -> Key:
    base = Key("id", "p", "sk", "server", ("query",), NOW)
    return checked_key(msgspec.structs.replace(base, **changes))


def test_the_scopes_are_those_of_the_wire_each_with_a_sentence() -> None:
    assert list(SCOPES) == ["events:write", "events:read", "query", "export", "manage", "admin", "ops"]
    assert all(len(sentence) > 10 for sentence in SCOPES.values())
    assert set(SCOPES) == ALL_SCOPES


def test_scopes_are_sorted_once() -> None:
    assert key(scopes=("query", "admin", "query")).scopes == ("admin", "query")


def test_an_ingest_key_only_sends_events_from_its_own_source() -> None:
    made = key(kind="in", name="web", scopes=())
    assert made.scopes == ("events:write",)
    assert made.sources == ("web",)
    assert key(kind="in", scopes=(), sources=("a", "b", "a")).sources == ("a", "b")
    assert key(sources=()).sources == ()


def test_an_ingest_key_never_gets_another_scope() -> None:
    with pytest.raises(BadInput, match="only events:write for a key of kind in"):
        key(kind="in", scopes=("events:write", "query"))


def test_origins_are_kept_as_browsers_send_them() -> None:
    origins = ("https://Shop.Example", "http://localhost:3000", "https://shop.example", "http://[::1]:80")
    made = key(kind="in", scopes=(), origins=origins)
    assert made.origins == ("https://shop.example", "http://localhost:3000", "http://[::1]:80")


@pytest.mark.parametrize(
    "origin",
    ["*", "", "shop.example", "https://shop.example/", "https://a.b/c", "ftp://a.b", "https://u:p@a.b", "null",
     "https://a.b:99999", "https://[::1", "https://", "https://a.b?x"],
)  # fmt: skip
def test_what_no_browser_sends_as_origin_is_refused(origin: str) -> None:
    with pytest.raises(BadInput, match="an origin as browsers send it"):
        key(kind="in", scopes=(), origins=(origin,))


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"kind": "admin"}, "kind"),
        ({"name": ""}, "name"),
        ({"name": "(other)"}, "name"),
        ({"name": "a" * 65}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"scopes": ()}, "scopes"),
        ({"scopes": ("queries",)}, "scopes"),
        ({"sources": ("",)}, "sources"),
        ({"sources": ("(unknown)",)}, "sources"),
        ({"sources": tuple(map(str, range(101)))}, "sources"),
        ({"origins": ("https://a.b",)}, "origins"),
        ({"events_per_second": 0}, "eventsPerSecond"),
        ({"events_per_second": float("nan")}, "eventsPerSecond"),
        ({"events_burst": 0}, "eventsBurst"),
        ({"expires_at": NOW}, "expiresAt"),
        ({"expires_at": dt.datetime(2027, 1, 1)}, "expiresAt"),  # noqa: DTZ001
    ],
)
def test_wrong_fields_are_refused_by_name(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(BadInput) as caught:
        key(**changes)
    assert (caught.value.code, caught.value.path) == ("INVALID_FIELD", f"$.{path}")


def test_on_the_wire_a_key_is_camel_case_with_utc_times() -> None:
    body = msgspec.to_builtins(key(events_per_second=5))
    assert body["createdAt"] == "2026-11-24T10:00:00Z"
    assert body["eventsPerSecond"] == 5
    assert body["secret"] is None
