"""Errors as problem documents."""

import json

import pytest

from headwater.domain import errors
from headwater.domain.problems import EVENT_CODES, OPERATOR_CODES, REQUEST_CODES, problem_of, status_of


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.BadInput("x"), 400),
        (errors.NotFound("x"), 404),
        (errors.Conflict("x"), 409),
        (errors.Conflict("x", code="VERSION_MISMATCH"), 412),
        (errors.TooLarge("x"), 413),
        (errors.BadInput("x", code="UNSUPPORTED_ENCODING"), 415),
        (errors.BadInput("x", code="BODY_TIMEOUT"), 408),
        (errors.BadInput("x", code="QUERY_TIMEOUT"), 504),
        (errors.Unauthenticated("x"), 401),
        (errors.Refused("x"), 403),
        (errors.Overloaded("x"), 429),
        (errors.Unavailable("x"), 503),
        (errors.Damaged("x"), 500),
        (errors.HeadwaterError("x"), 500),
    ],
)
def test_each_error_has_its_status(error: errors.HeadwaterError, status: int) -> None:
    assert status_of(error) == status


def test_a_problem_tells_value_limit_cure_and_when_to_come_again() -> None:
    error = errors.Overloaded("slow down", code="RATE_LIMITED", limit=5, hint="wait", retry_after_seconds=1.2)
    status, headers, body = problem_of(error, "r1")
    assert (status, headers["retry-after"], headers["content-type"]) == (429, "2", "application/problem+json")
    document = json.loads(body)
    assert document == {
        "type": "about:blank",
        "title": "Too Many Requests",
        "status": 429,
        "code": "RATE_LIMITED",
        "detail": "slow down",
        "limit": 5,
        "hint": "wait",
        "requestId": "r1",
    }


def test_an_error_of_ours_tells_nothing_but_the_request_id() -> None:
    _, _, body = problem_of(errors.Damaged("/secret/path is broken", path="/secret/path"), "r1")
    assert b"secret" not in body
    assert b"r1" in body


def test_codes_are_sentences_in_lower_case() -> None:
    for table in (EVENT_CODES, REQUEST_CODES, OPERATOR_CODES):
        for code, sentence in table.items():
            assert code == code.upper()
            assert not sentence.endswith(".")
