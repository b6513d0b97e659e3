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
    "MALFORMED_LINE": "a line of an imported file is not of the file's format",
    "BATCH_UNREADABLE": "the body that the event came in can't be taken apart any more",
    "STEP_FAILED": "a step of the pipeline failed on the event",
    "PATCH_FAILED": "an operation of a replay's patch can't be done on the event",
    "LOAD_FAILED": "the warehouse could not take the event's values",
}
"""Why an event is quarantined, or what is warned of: `code` in `results` and in the quarantine."""

REQUEST_CODES = {
    "BAD_INPUT": "something in the request is wrong",
    "EMPTY_BODY": "the body holds nothing",
    "BAD_HEADER": "a header's value is wrong",
    "BAD_PARAMETER": "the value of a query parameter is wrong",
    "UNKNOWN_PARAMETER": "this address takes no query parameter of that name",
    "DUPLICATE_PARAMETER": "a query parameter is given twice, with different values",
    "KEY_IN_ADDRESS": "a key stands in an address that takes none there",
    "MALFORMED_JSON": "the body, or a parameter that holds JSON, is not JSON",
    "TYPE_MISMATCH": "a field holds another kind of value than it must, or none of its words",
    "MISSING_FIELD": "a field that is needed is missing",
    "UNKNOWN_FIELD": "there is no field of that name here",
    "INVALID_FIELD": "a field's value breaks its rule",
    "INVALID_ID": "the id is not a UUID",
    "INVALID_NAME": "the name breaks the rule for names of its kind, or is reserved",
    "INVALID_LIMIT": "`limit` is outside of what is allowed",
    "INVALID_CURSOR": "the cursor is not one that an answer gave",
    "INVALID_TIME": "a time is not an RFC 3339 instant with its offset",
    "INVALID_TIME_RANGE": "the time range is empty, too long, or says two things at once",
    "INVALID_RETENTION": "a retention is no span of days or years, or longer than what it rests on is kept",
    "AS_OF_REMOVED": "the moment that is asked for lies before a removal of events that the answer would need",
    "UNKNOWN_TIME_ZONE": "the time zone is not an IANA name",
    "UNKNOWN_INTERVAL": "the size of a bucket is none of the known ones",
    "UNKNOWN_METRIC": "no metric of that name is built in or defined",
    "UNKNOWN_AGGREGATION": "a metric's aggregation is none of the known ones",
    "UNKNOWN_OPERATOR": "a condition's operator is none of the known ones",
    "UNKNOWN_ORDER": "`order` names what is no metric or dimension of the question",
    "INVALID_FILTER": "a condition is put together wrongly",
    "INVALID_VALUE": "a condition's value does not go with its operator",
    "INVALID_PATCH": "an operation of a patch is put together wrongly",
    "INVALID_PATTERN": "a regular expression is not one of RE2",
    "INVALID_DIMENSION": "the field can't be a dimension",
    "DUPLICATE_DIMENSION": "a dimension stands twice in the question",
    "DUPLICATE_METRIC": "a metric stands twice in the question",
    "UNSUPPORTED": "this is part of the interface and not there yet",
    "NAME_MISMATCH": "the body names another thing than the address",
    "TOO_MANY_METRICS": "the question has more metrics than allowed",
    "TOO_MANY_DIMENSIONS": "the question or definition has more dimensions than allowed",
    "TOO_MANY_FILTERS": "the question or definition has more conditions than allowed",
    "TOO_MANY_VALUES": "a list of values is longer than allowed",
    "TOO_MANY_ORDERS": "`order` has more entries than allowed",
    "TOO_MANY_POINTS": "the answer would have more than `engine.points_max` points",
    "TOO_MANY_KEYS": "the project has as many keys as it may",
    "QUERY_TIMEOUT": "the question took longer than `engine.seconds_max`: ask for less, the same again takes as long",
    "QUERY_CANCELLED": "the question was cancelled, or its caller went away",
    "TOO_MANY_QUERIES": "as many questions as allowed are waiting already",
    "TOO_MANY_PROJECTS": "`projects.open_max` projects are open already",
    "BAD_ENCODING": "the body is not what Content-Encoding says",
    "UNSUPPORTED_ENCODING": "Content-Encoding is none of gzip, zstd, identity",
    "INVALID_SENT_AT": "`sentAt` is not an RFC 3339 time with a zone",
    "INVALID_SCHEMA": "the schema of an event is not a JSON Schema that can be used here",
    "BAD_BATCH": "stored bytes do not hold the events they should",
    "HEAD_TOO_LARGE": "the address and headers together are larger than 64 KiB",
    "TOO_MANY_CONNECTIONS": "`server.connections_max` connections are open",
    "BODY_TIMEOUT": "the body did not arrive within `server.body_seconds_max`",
    "BODY_CUT": "the connection ended before the body was whole",
    "BODY_TOO_LARGE": "the body is larger than `collect.body_bytes_max`",
    "EXPANDED_TOO_LARGE": "the body is larger than `collect.expanded_bytes_max` once decompressed",
    "TOO_MANY_EVENTS": "the body holds more events than `collect.batch_events_max`",
    "TOO_LARGE": "something is larger than its limit",
    "OBJECT_TOO_LARGE": "the object is larger than the catalog takes",
    "NOT_FOUND": "there is no such thing",
    "NO_EVENTS": "no stored event is what the request is about",
    "KEY_NOT_FOUND": "the project has no key of that id or name",
    "KEY_AMBIGUOUS": "several valid keys have that name; use the id",
    "AMBIGUOUS_ID": "several sources sent events with that id; name one with `source`",
    "JOB_NOT_FOUND": "the project has no job of that id, or has forgotten it",
    "JOB_FINISHED": "the job has ended already",
    "TOO_MANY_JOBS": "`jobs.queued_max` jobs of the project are waiting already",
    "UNKNOWN_JOB_KIND": "there is no such kind of job",
    "INVALID_CRON": "the cron line has not five right fields, or is never due",
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
    "DISK_FULL": "less than `log.free_bytes_min` is free, or a disk is full",
    "READ_ONLY": "a file or folder of the data can't be written",
    "LOG_FULL": "the log holds `log.bytes_max` of which nothing is processed yet",
    "LOG_QUEUE_FULL": "`log.queue_bytes_max` wait to be written",
    "LOG_FAILED": "the disk failed before anything of the request was written",
    "LOG_CLOSED": "the log is closed: the server stops",
    "LOG_STOPPED": "the log's writer died; the server has to be started again",
    "LOG_REPLACED": "the log's folder was deleted or replaced while in use",
    "LEDGER_BUSY": "the log moves faster than the ledger can be read; ask again",
    "OUTCOME_UNKNOWN": "the disk failed while writing: send again with the same ids",
    "DAMAGED": "stored bytes are not what was written",
    "INTERNAL": "an error of ours",
}
"""Why a request is refused as a whole: `code` of the problem document. Nothing of it was stored."""

OPERATOR_CODES = {
    "BAD_SETTING": "a setting's value is wrong, or contradicts another",
    "BAD_SETTINGS_FILE": "the settings file can't be read",
    "UNKNOWN_SETTING": "there is no setting of that name",
    "BAD_NETWORK": "a setting holds what is no address or network",
    "OPEN_NOT_LOOPBACK": "`--open` with a host that others can reach",
    "UNKNOWN_SCHEME": "no backend is known for the scheme of a store's URL",
    "MISSING_PACKAGE": "the backend needs a package that is not installed",
    "DATA_FOLDER_UNWRITABLE": "the data folder can't be written",
    "ROLE_RUNNING": "another process has this role on the data folder",
    "ADDRESS_TAKEN": "the port or socket can't be listened on",
    "NOT_A_DEMO_FOLDER": "`headwater demo` was pointed at a folder with other data",
    "BAD_URL": "`--url` is no http address",
    "NO_DATA": "there is no data folder where a command looks for one",
    "NO_ANSWER": "the server did not answer a command",
    "NO_PROBLEM_DOCUMENT": "what answered a command is not headwater, or something stands in between",
    "BAD_FILE": "a file given to a command does not hold what it must",
    "UNKNOWN_FORMAT": "the format of a file to import is not known by its name; say it with `--format`",
    "UNREADABLE_FILE": "a file to import can't be read, or not as that format",
    "DAMAGED_FILE": "a compressed file to import is damaged or cut off",
    "CATALOG_MISSING": "projects lie in the data folder, but its catalog is gone",
    "CATALOG_DAMAGED": "the catalog's file is damaged, or another program's",
    "CATALOG_NEWER": "the catalog was written by a newer release",
    "CATALOG_BUSY": "another process holds the catalog for long",
    "CATALOG_CLOSED": "the catalog is closed: the server stops",
    "CATALOG_UNAVAILABLE": "the catalog can't be read or written",
    "NO_LOG": "there is no log yet: its writer has not started",
    "LOG_MISSING": "the project had a log, and it is gone",
    "LOG_HELD": "another process writes to the log",
    "LOG_FORMAT": "the log was written by a newer release",
    "LOG_MIXED": "the log's folder holds segments of another log",
    "LOG_UNREADABLE": "the log can't be read",
    "LOG_LOST": "a part of the log that was read before is gone",
    "OTHER_LOG": "log and stores do not belong together",
    "AHEAD_OF_LOG": "a store is further than the log: the log's end is missing",
    "WAREHOUSE_BEHIND": "events between warehouse and log are in neither, nor in the lake",
    "LAKE_BEHIND": "events between lake and log are in neither",
    "POSITION_AHEAD_OF_LOG": "a reader stands beyond the end of the log",
    "POSITION_BEHIND_LOG": "a reader stands before the beginning of the log",
    "POSITION_INSIDE_FRAME": "a reader stands inside a frame of the log",
    "POSITION_CONFLICT": "a load does not follow on what the warehouse holds",
    "NOT_ABOVE": "a seal does not follow on what the lake holds",
    "WAREHOUSE_LOCKED": "another process has the warehouse open",
    "WAREHOUSE_DAMAGED": "the warehouse's file is damaged; it can be made again from the lake",
    "WAREHOUSE_NEWER": "the warehouse was written by a newer release, or used with a newer DuckDB",
    "WAREHOUSE_OLDER": "the warehouse was written by a DuckDB too old for this one to read",
    "WAREHOUSE_IO": "the warehouse's file can't be read or written",
    "WAREHOUSE_MEMORY": "`warehouse.memory_bytes_max` does not suffice",
    "WAREHOUSE_CLOSED": "the warehouse is closed: the server stops",
    "WAREHOUSE_UNAVAILABLE": "the warehouse can't do it now",
    "REBUILD_DIFFERS": "the warehouse that was made again is not equal to the present one, which stays",
    "REBUILD_BEHIND": "the warehouse that is made again can't catch up with what comes in; it is tried again",
    "LAKE_DAMAGED": "a file of the lake is damaged or gone",
    "LAKE_VERSION_GONE": "the lake no longer has, or never had, a version of that number or time, or its files",
    "LAKE_BUSY": "the lake is being compacted, expired or vacuumed already",
    "LAKE_LOCKED": "another process writes to the lake",
    "LAKE_PROTOCOL": "another tool raised the lake's tables to a protocol that can't be written here",
    "LAKE_CONTENDED": "another writer keeps committing to the lake",
    "LAKE_CLOSED": "the lake is closed: the server stops",
    "LAKE_FAILED": "the lake's disk failed",
    "WORKERS_DIE": "decode workers die one after the other",
    "LOADING_STALLED": "loads into the warehouse fail and are tried again; nothing is lost meanwhile",
    "LAKE_STALLED": "writing to the lake fails and is tried again; nothing is lost meanwhile, the log is not trimmed",
    "JOB_FAILED": "the job that a command waited for has failed or was cancelled",
    "LEDGER_UNBALANCED": "the ledger does not balance; `headwater ledger` shows the minutes and sources",
    "JOB_TIMEOUT": "one attempt at a job took longer than its kind allows",
    "JOB_HUNG": "a job did not end when its time was over; it is not tried again",
    "JOB_WORKER_DIED": "workers died at a job, one after the other, before anything new was saved",
    "BAD_JOB_RESULT": "what a job gave as its result can't be kept",
    "JOBS_HUNG": "jobs that don't end hold so many threads that no more are begun; start the process anew",
    "JOBS_FAILING": "jobs failed for good within the last hour; `headwater jobs list --state failed`",
    "JOBS_WAITING": "a job has been due for longer than an hour",
    "CLOCK_SET_BACK": "the clock is behind the last received event; received times stand still until it has caught up",
    "STARTING": "the part has not reported yet",
    "RESTARTED": "the part failed and was started again",
    "STOPPING": "the part was asked to stop while at work",
    "STOPPED": "the demo was stopped while loading",
}
"""What people who run the service meet: at start, in commands, in the journal, and as reasons of /health/ready."""

VALUE_CHARACTERS_MAX = 200
"""Of a value that is told back: what was sent may be a megabyte."""

# QUERY_TIMEOUT: 503 and 408 ask to be sent again, and some clients do so by themselves; a question that takes too long
# must be made smaller first. 504 says what happened, and that it was not the caller's wording.
_STATUS_OF_CODE = {
    "METHOD_NOT_ALLOWED": 405,
    "BODY_TIMEOUT": 408,
    "VERSION_MISMATCH": 412,
    "UNSUPPORTED_ENCODING": 415,
    "HEAD_TOO_LARGE": 431,
    "QUERY_TIMEOUT": 504,
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
        value = _short(getattr(error, name))
        if value is not None and status != 500:
            document[name] = value
    document["requestId"] = request_id
    headers = {"content-type": "application/problem+json"}
    if error.retry_after_seconds is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_seconds)))
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return status, headers, msgspec.json.encode(document, enc_hook=str)


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= VALUE_CHARACTERS_MAX else value[: VALUE_CHARACTERS_MAX - 1] + "…"
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= 64 else None
    return value if len(str(value)) <= VALUE_CHARACTERS_MAX else None
