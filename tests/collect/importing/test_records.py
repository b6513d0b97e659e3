import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.collect.importing.records import (
    NAMESPACE,
    TEXT_CHARACTERS_MAX,
    Origin,
    bad_line,
    derived_id,
    quarantined_event,
)
from headwater.domain.wire import peek

ORIGIN = Origin("a.log", "a.log", "request")


@given(
    st.text(st.characters(codec="utf-8"), max_size=20), st.integers(1, 10**12), st.text(st.characters(codec="utf-8"))
)
def test_a_derived_id_is_the_uuid5_of_source_line_number_and_line(source: str, line: int, text: str) -> None:
    assert derived_id(source, line, text.encode()) == str(uuid.uuid5(NAMESPACE, f"{source}\n{line}\n{text}"))


def test_equal_lines_at_other_places_or_of_other_sources_have_other_ids() -> None:
    assert len({derived_id(source, line, b"x") for source in ("a", "b") for line in (1, 2)}) == 4


def test_a_bad_line_travels_with_file_line_reason_and_text_and_a_readable_source() -> None:
    event = quarantined_event(ORIGIN, 7, bad_line(b"\xffoops", "NOT_UTF8", "byte 0 is not UTF-8"))
    fields = json.loads(event)
    assert fields["import"] == {"file": "a.log", "line": 7, "code": "NOT_UTF8", "detail": "byte 0 is not UTF-8"}
    assert fields["data"] == {"attributes": r"\xffoops", "metadata": {"batchId": "a.log:7"}}
    seen = peek(event)
    assert (seen.source, seen.name, str(seen.id)) == ("a.log", "request", fields["id"])


@pytest.mark.parametrize("unit", [b"x", "é".encode(), b"\xff", "\U0001f600".encode()])
def test_a_long_bad_line_is_cut_and_says_so(unit: bytes) -> None:
    bad = bad_line(unit * 1_000_000, "EVENT_TOO_LARGE", "too long")
    assert len(bad.text) == TEXT_CHARACTERS_MAX
    assert str(TEXT_CHARACTERS_MAX) in bad.detail
