"""Who may do what, on every route: without the right nothing is told, not even whether a thing exists."""

import pytest

from headwater.api.routes import ROUTES

UUID = "0192f0c4-0000-7000-8000-000000000000"
EXAMPLES = {"event_id": UUID, "item": "1", "query_id": "q", "metric": "m", "schema": "s@1", "key": "k", "job_id": "j"}
GUARDED = [
    (method, path, handler.opt["needs"], handler.opt.get("example"))
    for handler in ROUTES
    if "needs" in handler.opt
    for method in handler.http_methods
    for path in [next(iter(handler.paths))]
] + [("POST", "/api/v1/events", "events:write", [{"name": "a"}])]
each_route = pytest.mark.parametrize(
    ("method", "path", "scope", "body"), GUARDED, ids=[f"{method} {path}" for method, path, _, _ in GUARDED]
)


def address(path):
    for name, value in EXAMPLES.items():
        path = path.replace(f"{{{name}:str}}", value).replace(f"{{{name}:path}}", value)
    assert "{" not in path
    return path


def told(answer):
    """Status and body, without what differs from request to request."""
    status, _, body = answer
    return status, {name: value for name, value in body.items() if name != "requestId"}


@pytest.fixture(scope="module")
def keys(shared):
    """Secrets: one with each scope alone, one revoked."""
    made = {}
    for scope in sorted({scope for _, _, scope, _ in GUARDED} | {"export"}):
        made[scope] = shared.ask("POST", "/api/v1/keys", {"name": scope.replace(":", "-"), "scopes": [scope]})[2]
    assert shared.run_cli("project", "create", "taken").returncode == 0
    gone = shared.ask("POST", "/api/v1/keys", {"name": "gone"})[2]
    assert shared.ask("DELETE", f"/api/v1/keys/{gone['id']}")[0] == 204
    return {scope: key["secret"] for scope, key in made.items()} | {"revoked": gone["secret"]}


@each_route
def test_without_a_valid_key_nothing_is_told(shared, keys, method, path, scope, body):
    none = told(shared.ask(method, address(path), body, key=None))
    assert none[0] == 401 and none[1]["code"] == "UNAUTHENTICATED"
    unknown = told(shared.ask(method, address(path), body, key="hw_sk_" + "a" * 27))
    assert told(shared.ask(method, address(path), body, key=keys["revoked"])) == unknown
    assert unknown[0] == 401
    assert shared.ask(method, address(path), body, key=None)[1]["www-authenticate"] == "Bearer"


@each_route
def test_a_key_without_the_scope_is_refused_and_one_with_it_alone_is_let_in(shared, keys, method, path, scope, body):
    status, _, problem = shared.ask(method, address(path), body, key=keys["export"])
    assert (status, problem["code"], problem["limit"]) == (403, "SCOPE_MISSING", scope)
    status, _, answer = shared.ask(method, address(path), body, key=keys[scope])
    if (method, path) == ("POST", "/api/v1/projects"):
        assert (status, answer["code"]) == (403, "PROJECT_FORBIDDEN"), "a key is of one project and makes no other"
    else:
        assert status not in (401, 403) and status < 500, answer


@each_route
def test_another_project_is_refused_whether_it_exists_or_not(shared, keys, method, path, scope, body):
    answers = []
    for project in ("taken", "absent"):
        status, problem = told(shared.ask(method, address(path), body, headers={"X-Headwater-Project": project}))
        assert (status, problem.pop("code")) == (403, "PROJECT_FORBIDDEN")
        answers.append({name: str(value).replace(project, "P") for name, value in problem.items()})
    assert answers[0] == answers[1]
    own = shared.ask(method, address(path), body, headers={"X-Headwater-Project": "default"}, key=keys[scope])
    assert own[0] not in (401, 403) or (own[2]["code"] == "PROJECT_FORBIDDEN" and path == "/api/v1/projects")


def test_public_routes_need_no_key_and_are_only_these(shared):
    public = {next(iter(handler.paths)) for handler in ROUTES if handler.opt.get("public")}
    assert public == {"/health/live", "/health/ready", "/openapi.json"}
    for path in public:
        assert shared.ask("GET", path, key=None)[0] == 200


def test_an_ingest_key_sends_and_does_nothing_else(shared):
    assert shared.send([{"name": "a"}], key="in")[0] == 201
    for method, path, scope, body in GUARDED:
        if scope != "events:write":
            assert shared.ask(method, address(path), body, key="in")[0] == 403


def test_a_key_in_an_address_is_refused_everywhere_but_at_the_collector(shared):
    ingest = shared.keys["in"]
    assert shared.ask("POST", f"/api/v1/events?key={ingest}", [{"name": "a"}], key=None)[0] == 201
    status, _, problem = shared.ask("GET", f"/api/v1/ledger?key={shared.keys['sk']}", key=None)
    assert (status, problem["code"]) == (401, "KEY_IN_ADDRESS")
    assert shared.keys["sk"] not in str(problem)
