import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from headwater import config
from headwater.config import load
from headwater.domain.errors import BadInput


def refused(**given: Any) -> BadInput:
    with pytest.raises(BadInput) as caught:
        load(**{"environ": {}, **given})
    return caught.value


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_with_nothing_set_everything_is_a_default() -> None:
    settings = load(environ={})
    assert (settings.server.host, settings.server.port, settings.server.role) == ("127.0.0.1", 8080, "all")
    assert settings.collect.body_bytes_max == 10 * 1024 * 1024
    assert {row.origin for row in settings.describe()} == {"default"}


def test_every_setting_has_a_sentence_and_a_default_that_its_own_rules_allow() -> None:
    rows = load(environ={}).describe()
    assert len(rows) == len({row.name for row in rows}) >= 50
    assert all(row.doc[0].isupper() and row.doc.endswith(".") for row in rows)
    flags = {row.name: list(row.value) if isinstance(row.value, tuple) else row.value for row in rows}
    assert load(flags=flags, environ={}).collect == load(environ={}).collect


def test_later_wins_file_environment_flag(data: Path) -> None:
    file = written(data / "headwater.toml", "[server]\nport = 1\nhost = '::1'\n[collect]\ndepth_max = 9\n")
    environ = {"HEADWATER_SERVER__DATA": str(data), "HEADWATER_SERVER__PORT": "2", "HEADWATER_COLLECT__DEPTH_MAX": "8"}
    settings = load(flags={"server.port": 3}, environ=environ)
    assert (settings.server.port, settings.collect.depth_max, settings.server.host) == (3, 8, "::1")
    origins = {row.name: row.origin for row in settings.describe()}
    assert origins["server.port"] == "--port"
    assert origins["collect.depth_max"] == "$HEADWATER_COLLECT__DEPTH_MAX"
    assert origins["server.host"] == str(file)
    assert origins["log.url"] == "default"


def test_the_file_is_found_by_the_data_folder_of_flag_or_environment(data: Path) -> None:
    written(data / "headwater.toml", "[server]\nport = 1\n")
    assert load(flags={"server.data": str(data)}, environ={}).server.port == 1
    assert load(environ={"HEADWATER_SERVER__DATA": str(data)}).server.port == 1
    assert load(environ={}).server.port == 8080


def test_a_named_file_is_read_instead_and_may_name_the_data_folder(data: Path) -> None:
    written(data / "headwater.toml", "[server]\nport = 1\n")
    other = written(data / "other.toml", f"[server]\nport = 2\ndata = '{data}'\n")
    settings = load(file=other, environ={})
    assert (settings.server.port, settings.server.data) == (2, str(data))


def test_the_file_in_the_data_folder_cannot_move_it(data: Path) -> None:
    written(data / "headwater.toml", "[server]\ndata = '/elsewhere'\n")
    assert "can't move it" in str(refused(flags={"server.data": str(data)}))


def test_a_named_file_that_is_missing_or_broken_is_said(data: Path) -> None:
    assert "No such file" in str(refused(file=data / "none.toml"))
    error = refused(file=written(data / "bad.toml", "[server\nport=1"))
    assert error.code == "BAD_SETTINGS_FILE"
    assert "bad.toml" in str(error) and "line 1" in str(error)


@pytest.mark.parametrize(
    ("variable", "near"),
    [
        ("HEADWATER_LOG__SEGMENT_BYTE", "log.segment_bytes"),
        ("HEADWATER_SERVE__PORT", "server.port"),
        ("HEADWATER_LAKE__URI", "lake.url"),
    ],
)
def test_an_unknown_setting_names_the_nearest_and_where_it_stands(variable: str, near: str) -> None:
    error = refused(environ={variable: "1"})
    assert (error.code, error.hint) == ("UNKNOWN_SETTING", near)
    assert f"from ${variable}; did you mean '{near}'?" in str(error)


def test_unknown_names_in_a_file_are_errors_too(data: Path) -> None:
    for text in ("[server]\nprot = 1\n", "[sever]\nport = 1\n", "port = 1\n", "server = 1\n", "[server.port]\nx = 1\n"):
        error = refused(file=written(data / "x.toml", text))
        assert error.code in ("UNKNOWN_SETTING", "BAD_SETTING"), text
        assert "x.toml" in str(error)


def test_variables_that_a_cluster_makes_by_itself_are_not_settings() -> None:
    environ = {"HEADWATER_SERVER_PORT": "tcp://10.0.0.1:80", "HEADWATER_KEY": "hw_sk_x", "OTHER__X": "1"}
    assert load(environ=environ).server.port == 8080


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SERVER__PORT", "abc", "server.port from $HEADWATER_SERVER__PORT: expected int, got 'abc'"),
        ("SERVER__PORT", "70000", "expected int <= 65535, got '70000'"),
        ("SERVER__OPEN", "maybe", "expected bool, got 'maybe'"),
        ("SERVER__ROLE", "both", "expected one of 'all', 'collect', 'process,api', got 'both'"),
        ("SERVER__BODY_SECONDS_MAX", "inf", "expected a finite number"),
        ("SERVER__BODY_SECONDS_MAX", "nan", "got 'nan'"),
        ("LOG__SEGMENT_BYTES", "64 parsecs", "expected int, got '64 parsecs'"),
        ("LOG__SEGMENT_BYTES", "-1", "expected int >= 1048576, got '-1'"),
        ("OBSERVE__METRICS_ALLOW", "10.0.0.0/8,x", "expected addresses or networks like 10.0.0.0/8, got 'x'"),
        ("SERVER__DATA", "", "expected str of length >= 1, got ''"),
    ],
)
def test_a_wrong_value_is_said_with_its_origin(variable: str, value: str, said: str) -> None:
    error = refused(environ={f"HEADWATER_{variable}": value})
    assert said in str(error)


def test_in_a_file_types_are_taken_strictly(data: Path) -> None:
    error = refused(file=written(data / "x.toml", "[server]\nport = '8080'\n"))
    assert f"server.port from {data / 'x.toml'}: expected int, got '8080'" in str(error)
    error = refused(file=written(data / "x.toml", "[server]\nopen = 1\n"))
    assert "expected bool, got 1" in str(error)


@pytest.mark.parametrize(
    ("text", "size"),
    [("33554432", 1 << 25), ("32 MiB", 1 << 25), ("32mib", 1 << 25), ("1.5 GiB", 3 << 29), ("100 MB", 10**8)],
)
def test_sizes_are_numbers_or_text_with_a_unit(data: Path, text: str, size: int) -> None:
    assert load(environ={"HEADWATER_LOG__SEGMENT_BYTES": text}).log.segment_bytes == size
    file = written(data / "x.toml", f"[log]\nsegment_bytes = '{text}'\n")
    if " " in text:
        assert load(file=file, environ={}).log.segment_bytes == size


def test_lists_are_separated_by_commas_in_the_environment(data: Path) -> None:
    environ = {"HEADWATER_SERVER__TRUSTED_PROXIES": "10.0.0.0/8, ::1 ,"}
    assert load(environ=environ).server.trusted_proxies == ("10.0.0.0/8", "::1")
    file = written(data / "x.toml", "[server]\ntrusted_proxies = ['10.0.0.1']\n")
    assert load(file=file, environ={}).server.trusted_proxies == ("10.0.0.1",)


@pytest.mark.parametrize(("low", "high"), config.AT_MOST)
def test_what_one_limit_allows_another_never_always_refuses(low: str, high: str) -> None:
    settings = load(environ={})
    error = refused(flags={low: settings.value(high) + 1, high: settings.value(high)})
    assert error.code == "BAD_SETTING"
    assert low in str(error) or "<=" in str(error)  # the low one may have a bound of its own


def test_a_relation_names_both_values_and_origins() -> None:
    error = refused(flags={"log.lag_events_soft": 6_000_000})
    assert str(error) == (
        "log.lag_events_soft (6000000, --lag-events-soft) must be at most log.lag_events_hard (5000000, default); "
        "change one of them"
    )


@pytest.mark.parametrize(("host", "good"), [("127.0.0.2", True), ("::1", True), ("localhost", True), ("0.0.0.0", False),
    ("::", False), ("example.org", False), ("127.0.0.1.example.org", False)])  # fmt: skip
def test_open_is_for_loopback_hosts_only(host: str, good: bool) -> None:
    flags = {"server.open": True, "server.host": host}
    if good:
        assert load(flags=flags, environ={}).server.open
    else:
        assert refused(flags=flags).code == "OPEN_NOT_LOOPBACK"


def test_a_new_log_is_asked_for_by_flag_only(data: Path) -> None:
    assert load(flags={"server.new_log": True}, environ={}).server.new_log
    assert "give it as a flag" in str(refused(environ={"HEADWATER_SERVER__NEW_LOG": "true"}))
    assert "give it as a flag" in str(refused(file=written(data / "x.toml", "[server]\nnew_log = true\n")))


def test_secrets_are_never_shown(data: Path) -> None:
    environ = {"HEADWATER_LOG__URL": "nats://me:hunter2@h:4222", "HEADWATER_LAKE__URL": "hunter2"}
    rows = {row.name: row.value for row in load(environ=environ).describe()}
    assert rows["log.url"] == "nats://me:***@h:4222"
    assert rows["lake.url"] == "***"
    assert load(environ=environ).log.url == "nats://me:hunter2@h:4222"
    assert "hunter2" not in str(refused(file=written(data / "x.toml", "[log]\nurl = ['hunter2']\n")))


def test_a_secret_may_come_from_a_file(data: Path) -> None:
    file = written(data / "url", "nats://me:hunter2@h\n")
    settings = load(environ={"HEADWATER_LOG__URL_FILE": str(file)})
    assert settings.log.url == "nats://me:hunter2@h"
    assert settings.origins["log.url"] == "$HEADWATER_LOG__URL_FILE"
    assert "cannot read" in str(refused(environ={"HEADWATER_LOG__URL_FILE": str(data / "none")}))
    both = {"HEADWATER_LOG__URL_FILE": str(file), "HEADWATER_LOG__URL": "x"}
    assert "given twice" in str(refused(environ=both))
    assert refused(environ={"HEADWATER_SERVER__PORT_FILE": str(file)}).code == "UNKNOWN_SETTING"


def test_the_environment_of_the_process_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_SERVER__PORT", "1234")
    assert load().server.port == 1234


def test_importing_it_imports_nothing_heavy() -> None:
    heavy = ["structlog", "prometheus_client", "psutil", "duckdb", "litestar", "uvicorn", "sqlite3", "asyncio", "rich"]
    script = f"import sys, headwater.config; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
