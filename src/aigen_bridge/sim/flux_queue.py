"""The AI service's queue API: the responses to submit, status, result and cancel."""

from typing import Any

from starlette.responses import JSONResponse, Response

from aigen_bridge.sim.flux_jobs import Job, Jobs, Stage
from aigen_bridge.sim.simulator import Clock


class Queue:
    """Responds for jobs by id. A job is forgotten `lifetime` seconds after its end."""

    def __init__(self, jobs: Jobs, lifetime: float, clock: Clock) -> None:
        self._jobs = jobs
        self._lifetime = lifetime
        self._clock = clock

    def submitted(self, job: Job, queue_url: str) -> Response:
        """Responds to a submission with the job's status, result and cancel URLs."""
        return JSONResponse(self._description(job, queue_url))

    def status(self, name: str, queue_url: str) -> Response:
        """Responds with 202 until the job has ended, then with 200, also when it failed; 404 for an unknown id."""
        job = self._find(name)
        if job is None:
            return _unknown(name)
        return JSONResponse(self._description(job, queue_url), 200 if job.ending else 202)

    def result(self, name: str) -> Response:
        """Responds with the output or the error, or with 400 while there is none."""
        job = self._find(name)
        if job is None:
            return _unknown(name)
        if job.ending is None:
            return JSONResponse({"detail": "Request is still in progress"}, 400)
        return job.ending.response()

    def cancel(self, name: str) -> Response:
        """Removes a job from the queue (200), stops a running one (202), or responds with 400 when it has ended."""
        job = self._find(name)
        if job is None:
            return JSONResponse({"status": "NOT_FOUND"}, 404)
        stage = job.stage
        if stage is Stage.COMPLETED:
            return JSONResponse({"status": "ALREADY_COMPLETED"}, 400)
        self._jobs.cancel(job)
        if stage is Stage.IN_QUEUE:
            return JSONResponse({"status": "OK"})
        return JSONResponse({"status": "CANCELLATION_REQUESTED"}, 202)

    def _find(self, name: str) -> Job | None:
        job = self._jobs.get(name)
        expired = job is not None and job.ended_at is not None and job.ended_at + self._lifetime <= self._clock()
        return None if expired else job

    def _description(self, job: Job, queue_url: str) -> dict[str, Any]:
        """Returns the body of a status: only infrastructure errors and cancellations have an `error` there."""
        base = f"{queue_url}/requests/{job.id}"
        urls = {"response_url": base, "status_url": f"{base}/status", "cancel_url": f"{base}/cancel"}
        body: dict[str, Any] = {"status": job.stage, "request_id": job.id, **urls}
        if job.stage is Stage.IN_QUEUE:
            body["queue_position"] = self._jobs.position(job)
        if job.ending is not None and job.ending.error_type is not None:
            body |= {"error": job.ending.body["detail"], "error_type": job.ending.error_type}
        return body


def _unknown(name: str) -> Response:
    return JSONResponse({"detail": f"Request {name} not found"}, 404)
