"""The lake's versions and sizes, and the pipeline's steps."""

from collections.abc import Mapping
from typing import Annotated, Any

from litestar import Response, get
from litestar.params import QueryParameter

from headwater.api.auth import needs
from headwater.api.rest.answers import LakeOut, PipelineOut
from headwater.api.rest.asking import AnyRequest, project_of, site_of
from headwater.api.rest.objects import instant
from headwater.storage.lake.base import Version


@get("/api/v1/lake", opt=needs("ops", answer=LakeOut), summary="The lake: sizes and versions", tags=["operations"])
async def lake(
    request: AnyRequest,
    limit: Annotated[int, QueryParameter(description="Versions shown, 1 to 1000", ge=1, le=1000)] = 100,
) -> Response[Any]:
    site, project = site_of(request), await project_of(request)
    stats = await site.lane.run(project.lake().stats)
    history = await site.lane.run(project.lake().history, limit)
    compacted_us = stats.pop("compacted_us")
    sizes = {**camel(stats), "compactedAt": instant(compacted_us or None)}
    return Response({**sizes, "versions": [version_out(one) for one in history]})


@get(
    "/api/v1/pipeline",
    opt=needs("ops", answer=PipelineOut),
    summary="Steps with rates, times and rejects",
    tags=["operations"],
)
async def pipeline(request: AnyRequest) -> Response[Any]:
    project = await project_of(request)
    return Response({**project.pipeline(), "warehouse": camel(project.warehouse.facts())})


def version_out(version: Version) -> dict[str, Any]:
    return {
        "version": version.version,
        "committedAt": instant(version.committed_us or None),
        "operation": version.operation,
        "rows": version.rows,
        "bytes": version.bytes,
        "files": version.files,
        "seq": version.seq,
    }


def camel(facts: Mapping[str, Any]) -> dict[str, Any]:
    """A backend's own facts, named as the wire names things."""

    def renamed(name: str) -> str:
        first, *rest = name.split("_")
        return first + "".join(word.capitalize() for word in rest)

    return {renamed(name): value for name, value in facts.items()}
