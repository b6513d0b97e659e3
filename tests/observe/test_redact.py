from typing import Any

import pytest

from headwater.observe.redact import clean, clean_value

SECRET = "Hunter2Hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f"hw_sk_{SECRET}",
        f"the key hw_in_{SECRET} is wrong",
        f"x_hw_sk_{SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"authorization=basic {SECRET}",
        f"'authorization': 'Bearer {SECRET}'",
        f"POST /api/v1/events?key={SECRET}&x=1",
        f"?x=1&KEY={SECRET}",
        f"nats://user:{SECRET}@host",
        f"smtp://:{SECRET}@host",
        f'{{"password": "{SECRET}"}}',
        f"password={SECRET}",
        f"client_secret={SECRET}&a=b",
        f"refresh_token: {SECRET}",
        f"whsec_{SECRET}",
        f"Cookie: {SECRET}",
    ],
)
def test_a_secret_inside_any_text_is_hidden(text: str) -> None:
    for value in (text, [text], {"a": {"b": (text,)}}, {text: 1}, ValueError(text)):
        assert SECRET not in str(clean_value(value))
        assert "***" in str(clean_value(value))
    assert SECRET not in str(clean({text: 1}))


@pytest.mark.parametrize(
    "name", ["password", "Authorization", "client_secret", "clientSecret", "access_token", "cookie", "apiKey", "body"]
)
def test_a_fact_whose_name_means_a_secret_is_hidden(name: str) -> None:
    assert clean({name: SECRET}) == {name: "***"}
    assert clean({"headers": {name: SECRET}}) == {"headers": {name: "***"}}


@pytest.mark.parametrize(
    "facts",
    [
        {"key_id": "abc", "body_bytes": 12, "tokens_left": 3, "path": "/api/v1/keys", "monkey": "b"},
        {"text": "this needs the scope 'admin'; key 'server' has export, query", "url": "http://h:80/x@y"},
        {"none": None, "flag": True, "ratio": 0.5, "list": [1, "a"]},
    ],
)
def test_what_is_no_secret_stays(facts: dict[str, Any]) -> None:
    assert clean(facts) == facts


def test_bytes_are_never_shown_and_large_things_are_cut() -> None:
    assert clean_value(b"body") == "<4 bytes>"
    assert clean_value(memoryview(b"body")) == "<4 bytes>"
    cut = clean_value("x" * 5000)
    assert len(cut) < 4100 and cut.endswith("… (5000 characters)")
    assert len(clean_value(list(range(1000)))) == 50
    deep: list[Any] = []
    deep.append(deep)
    assert clean_value(deep) == [[[["…"]]]]
