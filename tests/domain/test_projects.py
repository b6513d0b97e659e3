import pytest

from headwater.domain.errors import BadInput
from headwater.domain.projects import ProjectSettings, checked_project_name, project_settings, retention_days


def test_a_name_alone_makes_a_project() -> None:
    assert project_settings({"name": "shop"}) == ProjectSettings("shop", "UTC", "forever", "allow")


@pytest.mark.parametrize("name", ["a", "0", "shop-1", "a" * 63])
def test_good_names(name: str) -> None:
    assert checked_project_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "A", "a_b", "a" * 64, "a/b", "..", "a\n", "ä", "a b"])
def test_names_that_could_leave_their_folder_are_refused(name: str) -> None:
    with pytest.raises(BadInput, match="expected 1 to 63 of a-z, 0-9 and '-'") as caught:
        project_settings({"name": name})
    assert caught.value.code == "INVALID_NAME"


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/Argentina/Buenos_Aires"])
def test_iana_zones_are_taken(zone: str) -> None:
    assert project_settings({"name": "a", "timeZone": zone}).time_zone == zone


@pytest.mark.parametrize(
    "zone", ["Berlin", "", "Europe", "../../etc/passwd", "/etc/localtime", "right/UTC", "posixrules", "x" * 500, "a\0b"]
)
def test_what_is_no_portable_zone_is_refused(zone: str) -> None:
    with pytest.raises(BadInput) as caught:
        project_settings({"name": "a", "timeZone": zone})
    assert caught.value.code == "UNKNOWN_TIME_ZONE"


@pytest.mark.parametrize(("text", "days"), [("forever", None), ("1d", 1), ("90d", 90), ("2y", 732), ("36500d", 36500)])
def test_retention_in_days(text: str, days: int | None) -> None:
    assert retention_days(text) == days


@pytest.mark.parametrize("text", ["", "0d", "90", "d", "-1d", "1.5y", "90D", "36501d", "100y", "forever ", "1w"])
def test_other_retentions_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="'forever', or days or years") as caught:
        project_settings({"name": "a", "retention": text})
    assert caught.value.code == "INVALID_RETENTION"


def test_an_unknown_field_names_the_nearest_one() -> None:
    with pytest.raises(BadInput, match="unknown field 'timezone'; did you mean 'timeZone'") as caught:
        project_settings({"name": "a", "timezone": "UTC"})
    assert caught.value.code == "UNKNOWN_FIELD"


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ({}, "MISSING_FIELD", "missing field 'name'"),
        ({"name": None}, "TYPE_MISMATCH", "expected str, got null"),
        ({"name": "a", "unknownEvents": "drop"}, "TYPE_MISMATCH", "expected one of allow, quarantine, warn"),
        ({"name": "a", "retention": 5}, "TYPE_MISMATCH", "expected str, got int"),
    ],
)
def test_wrong_types_and_choices_are_refused(body: dict[str, object], code: str, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        project_settings(body)
    assert caught.value.code == code
    assert words in str(caught.value)
