"""Every route of the REST API, and the application made of them."""

from typing import Any

from litestar import Litestar

from headwater.api.auth import authorise
from headwater.api.errors import BODY_BYTES_MAX, answer_problem
from headwater.api.openapi import openapi_json
from headwater.api.rest import (
    admin,
    definitions,
    doctor,
    events,
    health,
    jobs,
    lake,
    lakecare,
    ledger,
    quarantine,
    query,
    retention,
    schemas,
    trials,
    warehouse,
)
from headwater.api.rest.asking import known_parameters_only
from headwater.api.site import Site

HEALTH = (health.live, health.ready, health.prometheus)
ROUTES: tuple[Any, ...] = (
    *HEALTH,
    openapi_json,
    *(events.events, events.event, ledger.receipt, ledger.ledger),
    *(quarantine.quarantine, quarantine.quarantined, quarantine.replay),
    *(query.query, query.metrics, query.cancel),
    *(definitions.list_metrics, definitions.create_metric, definitions.read_metric, definitions.write_metric),
    definitions.remove_metric,
    *(schemas.list_schemas, schemas.create_schema, schemas.read_schema, schemas.write_schema, schemas.remove_schema),
    *(schemas.schema_history, trials.infer_schema, trials.check_schema),
    *(admin.list_projects, admin.create_project, admin.read_settings, admin.write_settings),
    *(admin.list_keys, admin.create_key, admin.revoke_key),
    *(lake.lake, lake.pipeline),
    *(lakecare.count, lakecare.compact, lakecare.expire, lakecare.vacuum),
    *(retention.retention, retention.run_retention, retention.warehouse, retention.reclaim),
    *(jobs.list_jobs, jobs.read_job, jobs.cancel_job),
    *(warehouse.rebuild, doctor.doctor, doctor.doctor_deep),
)


def build_app(site: Site, routes: tuple[Any, ...] = ROUTES) -> Litestar:
    """The routes over a site. Each is checked by `authorise` before it runs."""
    app = Litestar(
        list(routes),
        guards=[authorise, known_parameters_only],
        exception_handlers={Exception: answer_problem},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=BODY_BYTES_MAX,
    )
    app.state.site = site
    return app
