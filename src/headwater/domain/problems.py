"""Every code the house may answer with, a sentence for each, and how an error looks as a problem document (RFC 9457).

Pure data: the bare event handler and the API both turn their errors into answers by `problem_of`.
"""

import http
import math
from typing import Any

import msgspec

from headwater.domain import errors
from headwater.domain.errors import HeadwaterError

EVENT_CODES = {
    "MALFORMED_JSON": "the event is not JSON",
    "NOT_UTF8": "the event holds bytes that are not UTF-8",
    "INVALID_UNICODE": "a text in the event holds half of a surrogate pair",
    "TOO_DEEP": "the event is nested deeper than `collect.depth_max`",
    "TYPE_MISMATCH": "a field holds another kind of value than it must",
    "INVALID_ID": "`id` is not a UUID",
    "INVALID_TIMESTAMP": "`timestamp` is not an RFC 3339 time with a zone in the years 1 to 9999",
    "INVALID_TYPE": "`type` is none of the four event types",
    "NO_NAME": "the event has neither `name` nor `type`",
    "EMPTY_STRING": "a text that must not be empty is",
    "STRING_TOO_LONG": "a text is longer than its field, or `collect.string_bytes_max`, allows",
    "TOO_MANY_ATTRIBUTES": "there are more attributes than `collect.attributes_max`",
    "EVENT_TOO_LARGE": "the event is larger than `collect.event_bytes_max`",
    "TIME_IN_FUTURE": "the event happened more than 24 hours after it was received",
    "TIME_TOO_OLD": "an ingest key sent an event older than 30 days",
    "SOURCE_NOT_ALLOWED": "the ingest key may not send events of this source",
    "UNKNOWN_EVENT": "no schema is declared for this event name",
    "UNKNOWN_VERSION": "schemas are declared for this event name, none for its version",
    "UNKNOWN_FIELD": "a field that is not part of an event; it is kept in the lake only",
    "SCHEMA_MISSING_FIELD": "an attribute that the schema requires is missing",
    "SCHEMA_UNKNOWN_FIELD": "an attribute that the schema does not name",
    "SCHEMA_VIOLATION": "an attribute breaks a rule of the schema",
    "LOAD_FAILED": "the warehouse could not take the event's values",
}
"""Why an event is quarantined, or what is warned of: `code` in `results` and in the quarantine."""

REQUEST_CODES = {
    "BAD_INPUT": "something in the request is wrong",
    "EMPTY_BODY": "the body holds nothing",
    "BAD_HEADER": "a header's value is wrong",
    "BAD_PARAMETER": "a query parameter is unknown or its value is wrong",
    "BAD_ENCODING": "the body is not what Content-Encoding says",
    "UNSUPPORTED_ENCODING": "Content-Encoding is none of gzip, zstd, identity",
    "INVALID_SENT_AT": "`sentAt` is not an RFC 3339 time with a zone",
    "INVALID_SCHEMA": "the schema of an event is not a JSON Schema that can be used here",
    "BAD_BATCH": "stored bytes do not hold the events they should",
    "BODY_TIMEOUT": "the body did not arrive within `server.body_seconds_max`",
    "BODY_TOO_LARGE": "the body is larger than `collect.body_bytes_max`",
    "EXPANDED_TOO_LARGE": "the body is larger than `collect.expanded_bytes_max` once decompressed",
    "TOO_MANY_EVENTS": "the body holds more events than `collect.batch_events_max`",
    "TOO_LARGE": "something is larger than its limit",
    "NOT_FOUND": "there is no such thing",
    "METHOD_NOT_ALLOWED": "the address does not take this method",
    "CONFLICT": "the thing exists already, or was changed by somebody else",
    "ALREADY_EXISTS": "a thing of that name exists already",
    "VERSION_MISMATCH": "the thing was changed since it was read",
    "UNAUTHENTICATED": "no key, or one that is not valid",
    "FORBIDDEN": "the key may not do this",
    "ORIGIN_NOT_ALLOWED": "the ingest key may not be used from this web page",
    "HOST_NOT_LOOPBACK": "an open server answers only to a loopback address",
    "CROSS_ORIGIN": "an open server answers no page but its own",
    "SCOPE_MISSING": "the key has not the scope that this needs",
    "PROJECT_FORBIDDEN": "the key belongs to another project",
    "PROJECT_NOT_FOUND": "there is no such project",
    "OTHER_ROLE": "this process has not the role that serves this address",
    "RATE_LIMITED": "the key sent more events than its rate allows",
    "BYTES_RATE_LIMITED": "the ingest key sent more bytes than its rate allows",
    "TOO_MANY_REQUESTS": "a limit on rate is reached",
    "TOO_MUCH_IN_FLIGHT": "bodies of `collect.inflight_bytes_max` are being received already",
    "BACKLOG": "`log.lag_events_hard` events wait to be processed",
    "UNAVAILABLE": "the server can't do it now",
    "OUTCOME_UNKNOWN": "the disk failed while writing: send again with the same ids",
    "DAMAGED": "stored bytes are not what was written",
    "INTERNAL": "an error of ours",
}
"""Why a request is refused as a whole: `code` of the problem document. Nothing of it was stored."""

_STATUS_OF_CODE = {
    "METHOD_NOT_ALLOWED": 405,
    "BODY_TIMEOUT": 408,
    "VERSION_MISMATCH": 412,
    "UNSUPPORTED_ENCODING": 415,
}
_STATUS_OF_CLASS: tuple[tuple[type[HeadwaterError], int], ...] = (
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.TooLarge, 413),
    (errors.BadInput, 400),
    (errors.Unauthenticated, 401),
    (errors.Refused, 403),
    (errors.Overloaded, 429),
    (errors.Unavailable, 503),
)


def status_of(error: HeadwaterError) -> int:
    """The HTTP status of an error: by its code where that has one of its own, else by its class."""
    if error.code in _STATUS_OF_CODE:
        return _STATUS_OF_CODE[error.code]
    return next((status for kind, status in _STATUS_OF_CLASS if isinstance(error, kind)), 500)


def problem_of(error: HeadwaterError, request_id: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer. Of errors that are ours (500) nothing is told but the request id."""
    status = status_of(error)
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "code": error.code,
        "detail": error.detail if status != 500 else "an error of ours; the journal has it under this request id",
    }
    for name in ("path", "value", "limit", "hint"):
        value = getattr(error, name)
        if value is not None and status != 500:
            document[name] = value
    document["requestId"] = request_id
    headers = {"content-type": "application/problem+json"}
    if error.retry_after_seconds is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_seconds)))
    return status, headers, msgspec.json.encode(document, enc_hook=str)
