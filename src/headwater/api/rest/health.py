"""Are we alive, are we ready, and our own gauges."""

from typing import Any

from litestar import Response, get

from headwater.api.auth import needs, public
from headwater.api.rest.answers import HealthOut
from headwater.api.rest.asking import AnyRequest, site_of


@get(
    "/health/live", opt=public(answer=HealthOut), sync_to_thread=False, summary="Is the process alive", tags=["health"]
)
def live(request: AnyRequest) -> Response[Any]:
    """200, or 503 with the reasons: then only a new start of the process helps. HEAD is answered, too."""
    state = site_of(request).health.live()
    return Response(state, status_code=200 if state["status"] != "down" else 503)


@get(
    "/health/ready", opt=public(answer=HealthOut), sync_to_thread=False, summary="May it be given work", tags=["health"]
)
def ready(request: AnyRequest) -> Response[Any]:
    """200, or 503 with the reasons; `degraded` is 200: it works, and somebody should look. HEAD is answered, too."""
    state = site_of(request).health.ready()
    return Response(state, status_code=200 if state["status"] != "down" else 503)


@get("/metrics", opt=needs("ops"), summary="Prometheus gauges", tags=["health"], media_type="text/plain")
async def prometheus(request: AnyRequest) -> Response[bytes]:
    return Response(site_of(request).exposition(), media_type="text/plain; version=0.0.4")
