from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.domain.errors import BadInput, Conflict, NotFound
from headwater.security.projects import change_project, create_project, list_projects, settings_of
from headwater.storage.catalog import open_catalog
from headwater.storage.catalog.base import Catalog


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    catalog = open_catalog(f"sqlite://{tmp_path}/catalog.sqlite")
    yield catalog
    catalog.close()


def test_projects_are_made_once_and_listed_by_name(catalog: Catalog) -> None:
    create_project(catalog, {"name": "shop", "timeZone": "Europe/Berlin"})
    create_project(catalog, {"name": "app"})
    assert [(p.name, p.time_zone) for p in list_projects(catalog)] == [("app", "UTC"), ("shop", "Europe/Berlin")]
    with pytest.raises(Conflict):
        create_project(catalog, {"name": "shop"})


def test_a_change_keeps_the_other_fields(catalog: Catalog) -> None:
    create_project(catalog, {"name": "shop", "timeZone": "Europe/Berlin"})
    assert change_project(catalog, "shop", {"retention": "90d"}).version == 2
    settings = settings_of(catalog, "shop")
    assert (settings.time_zone, settings.retention) == ("Europe/Berlin", "90d")


def test_a_lost_update_and_a_new_name_are_refused(catalog: Catalog) -> None:
    create_project(catalog, {"name": "shop"})
    change_project(catalog, "shop", {"retention": "90d"}, if_version=1)
    with pytest.raises(Conflict):
        change_project(catalog, "shop", {"retention": "1d"}, if_version=1)
    with pytest.raises(BadInput, match="never changes"):
        change_project(catalog, "shop", {"name": "other"})
    assert settings_of(catalog, "shop").retention == "90d"


def test_an_unknown_project_is_named(catalog: Catalog) -> None:
    with pytest.raises(NotFound, match="no project 'nowhere'; make it with") as caught:
        settings_of(catalog, "nowhere")
    assert caught.value.code == "PROJECT_NOT_FOUND"
