"""`GET /metrics`: the metrics of this process, or of all that share its port, and gauges from the database."""

from collections.abc import Iterator, Mapping

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from aigen_bridge import __version__, metrics
from aigen_bridge.api.endpoint import Parts
from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.domain.incident import PER_ODOO, Cause, incident_key, read_key
from aigen_bridge.domain.queues import odoo_of, step_of
from aigen_bridge.domain.request import DEFAULT_ODOO
from aigen_bridge.metrics.port import may_scrape
from aigen_bridge.store.fresh import Fresh
from aigen_bridge.store.gauges import Gauges

router = APIRouter(include_in_schema=False)
log = structlog.get_logger(__name__)


@router.get("/metrics")
async def scrape(request: Request, parts: Parts) -> Response:
    """Serves Prometheus. Needs no key unless `AIGEN_METRICS__TOKEN` is set; off with `AIGEN_METRICS__ENABLED`."""
    wanted = parts.rotation.settings.metrics
    if not wanted.enabled:
        return Response("Metrics are switched off (AIGEN_METRICS__ENABLED).\n", 404, media_type="text/plain")
    token = wanted.token.get_secret_value() if wanted.token else None
    if not may_scrape(token, request.headers.get("authorization")):
        headers = {"WWW-Authenticate": "Bearer"}
        return Response("The bearer token is missing or wrong.\n", 401, headers, media_type="text/plain")
    return Response(
        metrics.as_text(_families(await read_gauges(request.app.state.gauges))), media_type=metrics.MEDIA_TYPE
    )


async def read_gauges(gauges: Fresh[Gauges]) -> Gauges | None:
    """Returns the gauges. They are None while the database is away."""
    try:
        return await gauges.get()
    except StoreUnavailableError as error:
        log.warning("metrics.gauges_unavailable", reason=error.reason)
        return None


def _families(gauges: Gauges | None) -> Iterator[Metric]:
    yield _gauge("aigen_build_info", "Always 1", "version", {__version__: 1})
    yield GaugeMetricFamily("aigen_database_up", "Whether the database answered", value=0.0 if gauges is None else 1.0)
    if gauges is not None:
        yield from _from_database(gauges)


def _from_database(gauges: Gauges) -> Iterator[Metric]:
    pending, late = _by_step(gauges.pending), _by_step(gauges.late)
    yield _per_odoo("aigen_outbox_pending", "Outbox entries that have not ended (10000: or more)", "step", pending)
    yield _per_odoo("aigen_outbox_late_seconds", "How long the oldest due entry has been due", "step", late)
    yield _gauge("aigen_requests_open", "Requests that have not ended (10000: or more)", "status", gauges.open)
    yield _gauge("aigen_requests_waiting_seconds", "Age of the oldest open request", "status", gauges.waiting)
    yield _gauge("aigen_dead_letters_open", "Dead letters (10000: or more)", "kind", gauges.dead)
    is_open = {name: float(name in gauges.open_breakers) for name in gauges.failures}
    yield _gauge("aigen_breaker_open", "1 while the breaker of a destination is open", "destination", is_open)
    paused = "1 while operators have paused a destination"
    yield _gauge("aigen_destination_paused", paused, "destination", gauges.paused)
    yield _gauge("aigen_destination_failures", "Failed calls in a row", "destination", gauges.failures)
    incidents = {read_key(key): number for key, number in gauges.incidents.items()}
    by_cause = {(cause.value, odoo if cause in PER_ODOO else None): each for (cause, odoo), each in incidents.items()}
    yield _per_odoo("aigen_incidents_open", "Occurrences per open incident", "cause", by_cause)
    unsettled = "Changes of requests that are not in the ledger yet (10000: or more)"
    yield GaugeMetricFamily("aigen_ledger_unsettled", unsettled, value=gauges.unsettled)
    yield from _of_image_store(gauges)
    yield GaugeMetricFamily("aigen_requests_kept_seconds", "Age of the oldest request that is kept", value=gauges.kept)
    yield _gauge("aigen_table_bytes", "Size of a table with its indexes", "table", gauges.bytes)


def _of_image_store(gauges: Gauges) -> Iterator[Metric]:
    is_away = float(gauges.incidents[incident_key(Cause.IMAGE_STORE_DOWN, DEFAULT_ODOO)] > 0)
    yield GaugeMetricFamily("aigen_image_store_away", "1 while the object store of the images is away", value=is_away)
    waiting = "Images in PostgreSQL that belong in the object store (10000: or more)"
    yield GaugeMetricFamily("aigen_images_waiting", waiting, value=gauges.images_waiting)
    due = "Objects of the image store that are to be deleted by now (10000: or more)"
    yield GaugeMetricFamily("aigen_image_objects_due", due, value=gauges.objects_due)
    due_for = "How long the first object that is to be deleted has been due"
    yield GaugeMetricFamily("aigen_image_objects_due_seconds", due_for, value=gauges.objects_due_for)


def _by_step(values: Mapping[str, float]) -> dict[tuple[str, str | None], float]:
    """Returns the values of queues by step and Odoo."""
    return {(step_of(queue).value, odoo_of(queue)): number for queue, number in values.items()}


def _gauge(name: str, description: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, description, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family


def _per_odoo(name: str, description: str, label: str, values: Mapping[tuple[str, str | None], float]) -> Metric:
    """Returns a gauge with a label for the Odoo, which is empty where the Odoos have no values of their own."""
    family = GaugeMetricFamily(name, description, labels=[label, "odoo"])
    for (value, odoo), number in values.items():
        family.add_metric([value, odoo or ""], number)
    return family
