"""Control of the AI service's jobs over HTTP.

`GET /_sim/jobs` lists them (`?correlation_id=` those of one request). `PUT` and `DELETE /_sim/hold/IN_QUEUE` or
`/_sim/hold/IN_PROGRESS` hold and release the jobs in that stage.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aigen_bridge.sim.flux_jobs import Jobs, Stage


def control_routes(jobs: Jobs) -> list[Route]:
    """Returns the control endpoints."""

    async def show(request: Request) -> Response:
        return JSONResponse(jobs.as_json(request.query_params.get("correlation_id")))

    async def hold(request: Request) -> Response:
        stage = request.path_params["stage"]
        if stage not in (Stage.IN_QUEUE, Stage.IN_PROGRESS):
            return JSONResponse({"detail": f"Jobs can be held IN_QUEUE or IN_PROGRESS, not {stage}"}, 404)
        change = jobs.hold if request.method == "PUT" else jobs.release
        change(Stage(stage))
        return Response(status_code=204)

    return [
        Route("/_sim/jobs", show, methods=["GET"]),
        Route("/_sim/hold/{stage}", hold, methods=["PUT", "DELETE"]),
    ]
