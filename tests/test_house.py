"""The house rules, as far as a test can hold them."""

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def generator():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["README.md", "settings.md", "codes.md", "api.md", "cli.md"])
def test_golden_the_reference_is_what_the_code_says(page):
    text = generator().PAGES[page]()
    path = ROOT / "docs" / "reference" / page
    if os.environ.get("HEADWATER_GOLDEN") == "rewrite":
        path.write_text(text)
    assert path.read_text() == text, "run make docs, and review the diff"


def test_golden_the_openapi_document_is_the_one_in_the_repository():
    from headwater.api.openapi import document

    path = ROOT / "tests" / "golden" / "openapi.json"
    if os.environ.get("HEADWATER_GOLDEN") == "rewrite":
        path.write_bytes(document())
    assert path.read_bytes() == document(), "run make golden, and review the diff"
    assert json.loads(document())["openapi"].startswith("3.1")


def test_every_route_names_exactly_one_scope_or_is_public():
    from headwater.api.routes import ROUTES
    from headwater.domain.keys import SCOPES

    for handler in ROUTES:
        needs, public = handler.opt.get("needs"), handler.opt.get("public", False)
        assert (needs in SCOPES) != public, handler


def test_help_imports_no_heavy_library():
    code = "import sys; sys.argv = ['headwater', '--help']\nfrom headwater.cli.main import main\n"
    code += "try:\n    main()\nexcept SystemExit:\n    pass\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in run.stderr.split()}
    heavy = {
        "litestar",
        "duckdb",
        "deltalake",
        "sqlglot",
        "uvicorn",
        "uvloop",
        "msgspec",
        "structlog",
        "prometheus_client",
    }
    assert not loaded & heavy
    assert "serve" in run.stdout


def test_the_pinned_dependencies_name_no_host_and_have_hashes():
    lock = (ROOT / "requirements" / "dev.lock").read_text()
    assert "://" not in lock and "--index" not in lock
    pinned = re.findall(r"^([a-z0-9_.\[\]-]+)==", lock, re.MULTILINE)
    assert len(pinned) > 40 and lock.count("--hash=sha256:") >= len(pinned)


def test_the_readme_is_short_and_architecture_fits_its_bound():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
    assert len((ROOT / "ARCHITECTURE.md").read_text().splitlines()) <= 250


def test_no_code_is_left_to_do():
    for path in (ROOT / "src").rglob("*.py"):
        assert not re.search(r"\b(TODO|FIXME|XXX)\b", path.read_text()), path


WORDS_NOT_CODES = re.compile(r"HEADWATER_.*|BOOL_(TRUE|FALSE)|(USER_ACTION|SYSTEM_METRIC|BUSINESS_EVENT|CUSTOM_EVENT)")
"""Texts in capitals that are no codes: variables of the environment, words of SQL, types of events."""


def test_every_code_that_can_be_met_is_in_the_reference_and_every_code_there_can_be_met():
    from headwater.domain.problems import EVENT_CODES, OPERATOR_CODES, REQUEST_CODES

    written, met = set(), set()
    for path in (ROOT / "src").rglob("*.py"):
        if path.name == "problems.py":
            continue
        tree = ast.parse(path.read_text())
        texts = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        written |= texts
        met |= {text for text in texts if re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", text)}
        met |= set(re.findall(r"\bcode ?= ?\"([A-Z0-9_]+)\"", path.read_text()))
    met = {code for code in met if not WORDS_NOT_CODES.fullmatch(code)}
    documented = EVENT_CODES.keys() | REQUEST_CODES.keys() | OPERATOR_CODES.keys()
    assert met - documented == set(), "add a sentence to a table of domain/problems.py"
    assert documented - written == set(), "no longer used"
