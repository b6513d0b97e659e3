import datetime as dt
import hashlib
import json
import re
import signal
import stat
import subprocess
import sys
import timeit
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headwater.domain.errors import BadInput, Conflict, Damaged, HeadwaterError, NotFound, Refused, Unauthenticated
from headwater.domain.keys import ALL_SCOPES
from headwater.observe import journal
from headwater.security import keys
from headwater.security.keys import (
    Access,
    Authenticator,
    create_first_pair,
    create_key,
    first_keys,
    list_keys,
    require,
    revoke_key,
)
from headwater.security.projects import create_project, list_projects
from headwater.storage.catalog import open_catalog
from headwater.storage.catalog.base import Catalog


@pytest.fixture(autouse=True)
def journal_file(tmp_path: Path) -> Iterator[Path]:
    """Everything said at any level during a test, in which no key may ever stand."""
    path = tmp_path / "journal"
    with path.open("w") as file:
        journal.configure("json", "debug", file)
        yield path
        journal.configure("json", "warning")
    assert not re.search(r"hw_(in|sk)_[2-9a-z]{4}", path.read_text())


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    catalog = open_catalog(f"sqlite://{tmp_path}/catalog.sqlite")
    create_project(catalog, {"name": "default"})
    create_project(catalog, {"name": "shop"})
    yield catalog
    catalog.close()


def sk(catalog: Catalog, project: str = "default", **changes: Any) -> str:
    return create_key(catalog, project, **{"kind": "sk", "name": "server", "scopes": ["query"], **changes})[1]


def ask(catalog: Catalog, secret: str, project: str | None = None) -> Access:
    return Authenticator(catalog).access(f"Bearer {secret}", None, "192.0.2.1", project)


def test_secrets_have_133_bits_and_no_look_alikes(catalog: Catalog) -> None:
    made = {sk(catalog, name=f"k{n}") for n in range(20)}
    assert len(made) == 20
    for secret in made:
        assert re.fullmatch(r"hw_sk_[2-9a-hjkmnp-z]{27}", secret)
    assert 31**27 > 2**133


def test_a_secret_key_is_kept_only_as_its_hash(catalog: Catalog, tmp_path: Path) -> None:
    secret = sk(catalog)
    (key,) = list_keys(catalog, "default")
    assert key.secret is None
    stored = catalog.get("key", "default", key.id)
    assert stored is not None and stored.body["hash"] == hashlib.sha256(secret.encode()).hexdigest()
    for file in tmp_path.glob("catalog.sqlite*"):
        assert secret[6:].encode() not in file.read_bytes()


def test_an_ingest_key_stays_readable(catalog: Catalog) -> None:
    key, secret = create_key(catalog, "default", kind="in", name="web")
    assert key.secret == secret and secret.startswith("hw_in_")
    assert list_keys(catalog, "default") == [key]


def test_a_valid_key_is_known_with_all_that_was_set(catalog: Catalog) -> None:
    key, secret = create_key(
        catalog, "shop", kind="in", name="web", sources=["a"], origins=["https://a.b"], events_per_second=5,
        events_burst=9,
    )  # fmt: skip
    assert ask(catalog, secret) == Access(
        "shop", key.id, "web", "in", frozenset({"events:write"}), ("a",), ("https://a.b",), 5, 9
    )


def test_a_key_belongs_to_one_project_and_never_tells_whether_another_exists(catalog: Catalog) -> None:
    secret = sk(catalog, "shop")
    assert ask(catalog, secret).project == "shop"
    assert ask(catalog, secret, "shop").project == "shop"
    said = []
    for other in ("default", "nowhere"):
        with pytest.raises(Refused) as caught:
            ask(catalog, secret, other)
        assert caught.value.code == "PROJECT_FORBIDDEN"
        said.append(str(caught.value).replace(other, "X"))
    assert said[0] == said[1]


def test_unknown_revoked_and_expired_keys_get_the_same_answer(catalog: Catalog) -> None:
    revoked = sk(catalog, name="revoked")
    revoke_key(catalog, "default", "revoked")
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(milliseconds=500)
    expired = sk(catalog, name="expired", expires_at=soon)
    while dt.datetime.now(dt.UTC) < soon:
        pass
    answers = set()
    for secret in ("hw_sk_" + "a" * 27, revoked, expired, "", "x", "ü\udcff", "y" * 100_000, revoked.upper()):
        with pytest.raises(Unauthenticated) as caught:
            ask(catalog, secret)
        answers.add((caught.value.code, str(caught.value), caught.value.hint))
    assert len(answers) == 1
    assert answers.pop()[0] == "UNAUTHENTICATED"


def test_a_key_that_expires_later_works_until_then(catalog: Catalog) -> None:
    assert ask(catalog, sk(catalog, expires_at=dt.datetime.now(dt.UTC) + dt.timedelta(hours=1))).name == "server"


@pytest.mark.parametrize("header", ["bearer {}", "BEARER {}", "Bearer  {}", " Bearer {} "])
def test_the_scheme_is_read_as_the_standard_says(catalog: Catalog, header: str) -> None:
    secret = sk(catalog)
    assert Authenticator(catalog).access(header.format(secret), None, None, None).name == "server"


@pytest.mark.parametrize("header", ["{}", "Basic {}", "Bearer", "Bearer{}", "Bearer {} x", "Bearer '{}'"])
def test_other_headers_are_refused(catalog: Catalog, header: str) -> None:
    with pytest.raises(Unauthenticated):
        Authenticator(catalog).access(header.format(sk(catalog)), None, None, None)


def test_without_credentials_the_answer_says_how(catalog: Catalog) -> None:
    with pytest.raises(Unauthenticated, match="no credentials; send 'Authorization: Bearer <key>'"):
        Authenticator(catalog).access(None, None, None, None)


def test_refused_credentials_are_counted_and_said_once_for_many(catalog: Catalog, journal_file: Path) -> None:
    authenticator = Authenticator(catalog)
    for _ in range(50):
        with pytest.raises(Unauthenticated):
            authenticator.access(f"Bearer hw_sk_{'a' * 27}", None, "192.0.2.7", None)
    assert authenticator.refused == 50
    assert journal.flush(10)
    (line,) = [json.loads(line) for line in journal_file.read_text().splitlines()]
    assert (line["kind"], line["event"], line["client"]) == ("audit", "credentials_refused", "192.0.2.7")


def test_only_ingest_keys_may_stand_in_an_address(catalog: Catalog) -> None:
    secret = sk(catalog)
    _, public = create_key(catalog, "default", kind="in", name="web")
    authenticator = Authenticator(catalog)
    assert authenticator.access(None, public, None, None).kind == "in"
    said = set()
    for wrong in (secret, "hw_sk_unknown", ""):
        with pytest.raises(Unauthenticated) as caught:
            authenticator.access(None, wrong, None, None)
        said.add(str(caught.value))
    assert len(said) == 1
    with pytest.raises(Unauthenticated):  # the header decides where there is one
        authenticator.access("Bearer wrong", public, None, None)


def test_a_change_is_in_force_after_refresh_and_not_before(catalog: Catalog) -> None:
    authenticator = Authenticator(catalog)
    assert authenticator.refresh() is False
    secret = sk(catalog)
    with pytest.raises(Unauthenticated):
        authenticator.access(f"Bearer {secret}", None, None, None)
    assert authenticator.refresh() is True
    assert authenticator.access(f"Bearer {secret}", None, None, None).name == "server"
    revoke_key(catalog, "default", "server")
    assert authenticator.refresh() is True
    with pytest.raises(Unauthenticated):
        authenticator.access(f"Bearer {secret}", None, None, None)


def test_a_key_revoked_by_another_process_is_refused_after_refresh(catalog: Catalog, tmp_path: Path) -> None:
    secret = sk(catalog)
    authenticator = Authenticator(catalog)
    script = (
        "import sys\nfrom headwater.storage.catalog import open_catalog\nfrom headwater.security.keys import *\n"
        "revoke_key(open_catalog(sys.argv[1]), 'default', 'server')"
    )
    subprocess.run([sys.executable, "-c", script, f"sqlite://{tmp_path}/catalog.sqlite"], check=True, timeout=60)
    authenticator.refresh()
    with pytest.raises(Unauthenticated):
        authenticator.access(f"Bearer {secret}", None, None, None)


def test_keys_known_before_stay_in_force_when_the_catalog_fails(catalog: Catalog) -> None:
    secret = sk(catalog)
    authenticator = Authenticator(catalog)
    catalog.close()
    with pytest.raises(HeadwaterError):
        authenticator.refresh()
    assert authenticator.access(f"Bearer {secret}", None, None, None).name == "server"


def test_the_folders_own_socket_has_full_rights_in_every_project(catalog: Catalog) -> None:
    authenticator = Authenticator(catalog)
    access = authenticator.local("shop")
    assert (access.project, access.kind, access.key_id, access.scopes) == ("shop", "local", "local", ALL_SCOPES)
    assert authenticator.local(None).project == "default"
    with pytest.raises(NotFound, match="no project 'nowhere'"):
        authenticator.local("nowhere")


def test_open_asks_for_no_credentials_but_projects_must_exist(catalog: Catalog) -> None:
    authenticator = Authenticator(catalog, open=True)
    for header in (None, "Bearer nonsense"):
        access = authenticator.access(header, None, "127.0.0.1", None)
        assert (access.project, access.kind, access.key_id, access.scopes) == ("default", "open", "open", ALL_SCOPES)
    assert authenticator.access(None, None, None, "shop").project == "shop"
    with pytest.raises(NotFound) as caught:
        authenticator.access(None, None, None, "nowhere")
    assert caught.value.code == "PROJECT_NOT_FOUND"


def test_a_missing_scope_is_named(catalog: Catalog) -> None:
    access = ask(catalog, sk(catalog, scopes=["query", "export"]))
    require(access, "query")
    with pytest.raises(Refused, match="needs the scope 'admin'; key 'server' has export, query") as caught:
        require(access, "admin")
    assert caught.value.code == "SCOPE_MISSING"


def test_an_ingest_key_can_do_nothing_but_send(catalog: Catalog) -> None:
    _, secret = create_key(catalog, "default", kind="in", name="web")
    access = ask(catalog, secret)
    require(access, "events:write")
    for scope in ALL_SCOPES - {"events:write"}:
        with pytest.raises(Refused):
            require(access, scope)


def test_access_costs_less_than_2_us(catalog: Catalog) -> None:
    """The best of many: other work on the machine can only slow it down."""
    authenticator = Authenticator(catalog)
    header = f"Bearer {sk(catalog)}"
    authenticator.refresh()
    best = min(timeit.repeat(lambda: authenticator.access(header, None, None, None), number=1000, repeat=30)) / 1000
    assert best < 2e-6


def test_a_key_is_revoked_by_id_or_by_a_name_that_is_clear(catalog: Catalog) -> None:
    one, _ = create_key(catalog, "default", kind="sk", name="a", scopes=["query"])
    two, _ = create_key(catalog, "default", kind="sk", name="a", scopes=["query"])
    with pytest.raises(Conflict, match=f"{one.id}, {two.id}|{two.id}, {one.id}"):
        revoke_key(catalog, "default", "a")
    assert revoke_key(catalog, "default", one.id).revoked_at is not None
    revoked = revoke_key(catalog, "default", "a")
    assert revoked.id == two.id
    assert revoke_key(catalog, "default", two.id) == revoked
    assert revoke_key(catalog, "default", "a").revoked_at is not None


def test_a_key_of_another_project_cannot_be_revoked(catalog: Catalog) -> None:
    key, _ = create_key(catalog, "shop", kind="sk", name="a", scopes=["query"])
    for named in (key.id, "a", "nothing"):
        with pytest.raises(NotFound) as caught:
            revoke_key(catalog, "default", named)
        assert caught.value.code == "KEY_NOT_FOUND"
    assert list_keys(catalog, "shop")[0].revoked_at is None


def test_a_header_seen_before_is_refused_once_its_key_is_revoked_or_expired(catalog: Catalog) -> None:
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1)
    authenticator = Authenticator(catalog)
    headers = [f"Bearer {sk(catalog, name='a')}", f"Bearer {sk(catalog, name='b', expires_at=soon)}"]
    authenticator.refresh()
    for header in headers * 2:
        authenticator.access(header, None, None, None)
    revoke_key(catalog, "default", "a")
    authenticator.refresh()
    with pytest.raises(Unauthenticated):
        authenticator.access(headers[0], None, None, None)
    while dt.datetime.now(dt.UTC) < soon:
        pass
    with pytest.raises(Unauthenticated):
        authenticator.access(headers[1], None, None, None)


def test_one_key_spelled_in_many_ways_fills_no_memory(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "SEEN_MAX", 3)
    authenticator = Authenticator(catalog)
    secret = sk(catalog)
    authenticator.refresh()
    for n in range(1, 9):
        assert authenticator.access(f"Bearer{' ' * n}{secret}", None, None, None).name == "server"
    assert len(authenticator._snapshot.seen) == 3


def test_a_key_needs_a_project_and_right_fields(catalog: Catalog) -> None:
    with pytest.raises(NotFound):
        create_key(catalog, "nowhere", kind="sk", name="a", scopes=["query"])
    with pytest.raises(BadInput):
        create_key(catalog, "default", kind="sk", name="a")
    assert list_keys(catalog, "default") == []


def test_keys_per_project_are_limited(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "KEYS_PER_PROJECT_MAX", 2)
    sk(catalog)
    sk(catalog)
    with pytest.raises(BadInput) as caught:
        sk(catalog)
    assert caught.value.code == "TOO_MANY_KEYS"
    sk(catalog, "shop")


def test_the_first_pair_of_a_project(catalog: Catalog) -> None:
    pair = create_first_pair(catalog, "shop")
    assert [(key.name, key.kind) for key, _ in pair] == [("web", "in"), ("server", "sk")]
    web, server = (ask(catalog, secret) for _, secret in pair)
    assert web.sources == ("web",)
    assert server.scopes == ALL_SCOPES


@pytest.fixture
def new(tmp_path: Path) -> Iterator[Catalog]:
    catalog = open_catalog(f"sqlite://{tmp_path}/catalog.sqlite")
    yield catalog
    catalog.close()


def secrets_in(file: Path) -> set[str]:
    return set(re.findall(r"hw_\w+", file.read_text()))


def test_the_first_start_makes_project_and_keys_and_writes_them_privately(new: Catalog, tmp_path: Path) -> None:
    shown = first_keys(new, tmp_path)
    assert list(shown) == ["web", "server"]
    assert [project.name for project in list_projects(new)] == ["default"]
    file = tmp_path / "first-keys"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert secrets_in(file) == set(shown.values())
    assert {ask(new, secret).kind for secret in shown.values()} == {"in", "sk"}


def test_a_later_start_makes_nothing_even_when_the_file_was_deleted(new: Catalog, tmp_path: Path) -> None:
    first_keys(new, tmp_path)
    (tmp_path / "first-keys").unlink()
    revision = new.revision()
    assert first_keys(new, tmp_path) == {}
    assert new.revision() == revision
    assert not (tmp_path / "first-keys").exists()


FIRST = (
    "import sys, json\nfrom pathlib import Path\nfrom headwater.security.keys import first_keys\n"
    "from headwater.storage.catalog import open_catalog\n"
)


def test_roles_that_start_together_make_one_pair(tmp_path: Path) -> None:
    script = (
        FIRST
        + "print(json.dumps(first_keys(open_catalog(f'sqlite://{sys.argv[1]}/catalog.sqlite'), Path(sys.argv[1]))))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    shown = [json.loads(process.communicate(timeout=60)[0]) for process in started]
    (made,) = [keys for keys in shown if keys]
    assert secrets_in(tmp_path / "first-keys") == set(made.values())
    catalog = open_catalog(f"sqlite://{tmp_path}/catalog.sqlite")
    assert len(list_keys(catalog, "default")) == 2
    catalog.close()


@pytest.mark.parametrize("after", ["file", "first key", "second key"])
def test_a_first_start_that_was_killed_is_done_again(tmp_path: Path, after: str) -> None:
    """kill -9 after each durable step; the keys in the file are then the only ones that work."""
    script = FIRST + (
        "import os, signal\nfrom headwater.security import keys\n"
        "catalog = open_catalog(f'sqlite://{sys.argv[1]}/catalog.sqlite')\n"
        "steps = iter(['file', 'first key', 'second key'])\n"
        "def stopping(step):\n"
        "    def run(*a, **k):\n"
        "        made = step(*a, **k)\n"
        "        if next(steps) == sys.argv[2]: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return made\n"
        "    return run\n"
        "keys._write_private = stopping(keys._write_private)\nkeys._put_new = stopping(keys._put_new)\n"
        "first_keys(catalog, Path(sys.argv[1]))"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path), after], timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    early = secrets_in(tmp_path / "first-keys")
    catalog = open_catalog(f"sqlite://{tmp_path}/catalog.sqlite")
    shown = first_keys(catalog, tmp_path)
    assert secrets_in(tmp_path / "first-keys") == set(shown.values())
    assert len(list_keys(catalog, "default")) == 2
    assert {ask(catalog, secret).project for secret in shown.values()} == {"default"}
    for secret in early:
        with pytest.raises(Unauthenticated):
            ask(catalog, secret)
    catalog.close()


def test_a_lost_catalog_beside_projects_is_refused_with_the_cure(new: Catalog, tmp_path: Path) -> None:
    (tmp_path / "projects" / "shop").mkdir(parents=True)
    with pytest.raises(Damaged, match=r"holds shop: catalog\.sqlite was lost or replaced; put your backup") as caught:
        first_keys(new, tmp_path)
    assert caught.value.code == "CATALOG_MISSING"
    assert not (tmp_path / "first-keys").exists()


def test_a_file_that_cannot_be_written_is_said_and_nothing_is_made(new: Catalog, tmp_path: Path) -> None:
    (tmp_path / "first-keys.part").mkdir()
    with pytest.raises(HeadwaterError, match="make the data folder writable"):
        first_keys(new, tmp_path)
    assert list_projects(new) == []
