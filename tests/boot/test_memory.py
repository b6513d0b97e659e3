"""One budget of memory for all open projects: each has its share, which changes as they come and go."""

from tests.served import Served

from headwater.boot.memory import PROJECT_BYTES_MIN, Memory

MIB = 1 << 20


def test_a_share_is_the_budget_by_the_projects_and_never_too_little_to_work_with():
    memory = Memory(512 * MIB)
    assert [memory.share(projects) // MIB for projects in (0, 1, 2, 4)] == [512, 512, 256, 192]
    assert memory.share(100) == PROJECT_BYTES_MIN
    assert Memory(64 * MIB).share(5) == 64 * MIB


def test_projects_get_less_as_more_are_opened_and_more_as_they_are_closed(tmp_path):
    env = {"HEADWATER_WAREHOUSE__MEMORY_BYTES_MAX": str(600 * MIB), "HEADWATER_PROJECTS__IDLE_MINUTES": "0.05"}
    with Served(tmp_path / "data", env=env) as own:

        def shares():
            lines = own.ask("GET", "/metrics")[2].decode().splitlines()
            name = "headwater_warehouse_memory_bytes{"
            found = [line.removeprefix(name).split("} ") for line in lines if line.startswith(name)]
            return {project.split('"')[1]: float(value) / MIB for project, value in found}

        assert shares() == {"default": 600}
        for name in ("one", "two"):
            own.run_cli("project", "create", name)
            assert own.run_cli("query", "--project", name).returncode == 0
        own.wait_for(lambda: shares() == {"default": 200, "one": 200, "two": 200})
        assert own.send([{"name": "a"}])[0] == 201
        own.wait_for(lambda: shares() == {"default": 600})
        assert own.settled()["stored"] == 1
