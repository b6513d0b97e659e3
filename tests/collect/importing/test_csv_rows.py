import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.collect.importing.csv_rows import BY_NAME, Columns, cell_value, read_csv
from headwater.collect.importing.opening import Input
from headwater.collect.importing.records import BadLine, Origin, Record
from headwater.domain.errors import BadInput

ORIGIN = Origin("e.csv", "e.csv", "row")
CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\ufeff"), max_size=8)


def read(path: Path, content: str | bytes, offset: int = 0, line: int = 0, columns: Columns = BY_NAME) -> list[Record]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with Input(path) as source:
        return list(read_csv(source, ORIGIN, offset, line, columns))


def events(records: list[Record]) -> list[dict[str, Any]]:
    return [json.loads(record.event) for record in records if isinstance(record.event, bytes)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "e.csv"


def test_columns_named_like_fields_are_fields_and_the_others_attributes(path: Path) -> None:
    (event,) = events(
        read(
            path,
            "id,type,name,source,actor,timestamp,version,session_id,SourceIP,user_agent,price,ok\n"
            "6f1ed002-ab5b-4f9a-8b3e-0c1d2e3f4a5b,USER_ACTION,buy,shop,u1,2025-01-01T00:00:00Z,2,s1,192.0.2.1,curl,9.50,TRUE\n",
        )
    )
    assert event == {
        "id": "6f1ed002-ab5b-4f9a-8b3e-0c1d2e3f4a5b",
        "type": "USER_ACTION",
        "name": "buy",
        "source": "shop",
        "actor": "u1",
        "timestamp": "2025-01-01T00:00:00Z",
        "version": "2",
        "data": {
            "attributes": {"price": 9.5, "ok": True},
            "metadata": {"batchId": "e.csv:2", "sessionId": "s1", "sourceIp": "192.0.2.1", "userAgent": "curl"},
        },
    }


def test_empty_cells_are_missing_and_the_rest_is_filled_in(path: Path) -> None:
    (event,) = events(read(path, "name,actor,x\n,,1\n"))
    assert {key: event[key] for key in event if key != "id"} == {
        "name": "row",
        "source": "e.csv",
        "data": {"attributes": {"x": 1}, "metadata": {"batchId": "e.csv:2"}},
    }


def test_a_mapping_moves_renames_and_drops_columns(path: Path) -> None:
    mapping = {"when": "timestamp", "who": "actor", "secret": "-", "id": "attributes.legacyId"}
    (event,) = events(read(path, "when,who,secret,id\n2025-01-01T00:00:00Z,u1,x,17\n", columns=Columns(mapping)))
    assert (event["timestamp"], event["actor"]) == ("2025-01-01T00:00:00Z", "u1")
    assert event["data"]["attributes"] == {"legacyId": 17}
    assert len(event["id"]) == 36


@pytest.mark.parametrize(
    ("header", "mapping", "says"),
    [
        ("a,b", {"c": "name"}, "no column 'c' to map"),
        ("a,b", {"a": "nme"}, "can't become 'nme'"),
        ("a,b", {"a": "attributes."}, "can't become"),
        ("a,name", {"a": "name"}, "two columns become 'name'"),
        ("a,a", {}, "two columns become 'attributes.a'"),
        ("a,,b", {}, "has no name"),
        ('a,"b', {}, "header row can't be read"),
        ("", {}, "no header row"),
        (",".join(f"c{n}" for n in range(1001)), {}, "more than 1000"),
    ],
)
def test_a_header_or_mapping_that_can_not_be_used_is_refused(
    path: Path, header: str, mapping: dict[str, str], says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        read(path, f"{header}\n1,2\n" if header else "", columns=Columns(mapping))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_headers(path: Path, delimiter: str) -> None:
    (event,) = events(read(path, delimiter.join(["name", "a", "b"]) + "\n" + delimiter.join(["x", "1", "2"])))
    assert event["data"]["attributes"] == {"a": 1, "b": 2}


def test_a_time_without_zone_is_read_in_the_given_one_and_else_left_to_the_collector(path: Path) -> None:
    content = "timestamp\n2025-07-01 12:00:00\n2025-07-01T12:00:00Z\nnonsense\n"
    zoned = events(read(path, content, columns=Columns({}, "Europe/Berlin")))
    assert [event["timestamp"] for event in zoned] == ["2025-07-01T12:00:00+02:00", "2025-07-01T12:00:00Z", "nonsense"]
    assert events(read(path, content))[0]["timestamp"] == "2025-07-01 12:00:00"
    with pytest.raises(BadInput, match="unknown time zone 'Mars'"):
        read(path, content, columns=Columns({}, "Mars"))


@pytest.mark.parametrize(
    ("cell", "value"),
    [("0", 0),
     ("-1.50", -1.5), ("1e3", 1000.0), ("True", True), ("false", False), ("123456789012345", 123456789012345),
     ("007", "007"), ("+1", "+1"), ("1,5", "1,5"), (".5", ".5"), ("5.", "5."), ("NaN", "NaN"), ("inf", "inf"),
     ("1e999", "1e999"), ("1234567890123456", "1234567890123456"), (" 1", " 1"), ("\uff11", "\uff11"), ("-", "-")],
)  # fmt: skip
def test_cells_become_numbers_or_booleans_only_where_nothing_is_lost(cell: str, value: object) -> None:
    found = json.loads(json.dumps(cell_value(cell), default=lambda raw: json.loads(bytes(raw))))
    assert (found, type(found)) == (value, type(value))


@settings(deadline=None)
@given(st.text(max_size=20))
def test_no_cell_raises_and_a_number_is_written_digit_for_digit(cell: str) -> None:
    value = cell_value(cell)
    if not isinstance(value, str | bool):
        assert bytes(value).decode() == cell


def test_a_quoted_cell_may_hold_delimiters_quotes_and_line_ends(path: Path) -> None:
    records = read(path, 'name,note\na,"x, ""y""\nsecond"\nb,plain\n')
    assert [event["data"]["attributes"]["note"] for event in events(records)] == ['x, "y"\nsecond', "plain"]
    assert [(record.line, record.last) for record in records] == [(2, 3), (4, 4)]


def test_bad_rows_are_told_by_their_line_and_the_others_live(path: Path) -> None:
    records = read(path, b'name,x\na,1\nb\nc,2,3\n\nd,"open\ne,\xff\nf,"x"y\ng,4\n')
    bad = {record.line: record.event.code for record in records if isinstance(record.event, BadLine)}
    assert bad == {3: "MALFORMED_LINE", 4: "MALFORMED_LINE", 6: "NOT_UTF8", 7: "NOT_UTF8", 8: "MALFORMED_LINE"}
    assert [event["name"] for event in events(records)] == ["a", "g"]


def test_a_quote_that_never_closes_loses_its_own_line_only(path: Path) -> None:
    lines = ["name,x", 'a,"open', *(f"n{number},{number}" for number in range(20_000))]
    records = read(path, "\n".join(lines))
    assert [record.line for record in records if isinstance(record.event, BadLine)] == [2]
    assert len(events(records)) == 20_000


def test_a_byte_order_mark_is_not_part_of_the_first_columns_name(path: Path) -> None:
    (event,) = events(read(path, "\ufeffname,x\na,1\n"))
    assert event["name"] == "a"


def test_equal_rows_are_different_events_by_their_line_number(path: Path) -> None:
    assert len({event["id"] for event in events(read(path, "name\na\na\n"))}) == 2


@settings(deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=8))
def test_rows_written_by_a_csv_writer_come_back_and_reading_resumes_behind_each(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]
) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(["a", "b", "c"])
    writer.writerows(rows)
    path = tmp_path_factory.getbasetemp() / "any.csv"
    records = read(path, out.getvalue())
    for event, row in zip(events(records), rows, strict=True):
        sent = {name: cell for name, cell in zip("abc", row, strict=True) if cell}
        found = event["data"]["attributes"]
        assert found.keys() == sent.keys()
        for name, cell in sent.items():
            assert found[name] == (json.loads(cell.lower()) if found[name] != cell else cell)
    for number, record in enumerate(records):
        assert read(path, out.getvalue(), record.end, record.last) == records[number + 1 :]


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_no_content_raises(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    read(tmp_path_factory.getbasetemp() / "bytes.csv", b"a,b\n" + content)
