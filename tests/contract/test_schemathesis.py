"""Calls that a machine thinks up from the OpenAPI document, against the real service on a real PostgreSQL.

Right calls, wrong calls and calls at the limits: every answer is one that the document promises. The calls are the
same in every run.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest
import requests
import schemathesis
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, settings
from schemathesis import CheckFunction
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import positive_data_acceptance

from aigen_bridge.api.app import create_app, describe
from aigen_bridge.sim.serving import serving
from callbacks import CALLBACK_V2, completed, failed
from stage import CALLBACK, REQUESTS, make_event, make_settings

EXAMPLES = 25
"""For each endpoint, beside those at the limits of every field, which are always tried."""
KEY = {"X-API-Key": "key-of-everyone"}
CLIENTS = {"everyone": {"keys": [KEY["X-API-Key"]], "scopes": ["requests", "callbacks", "ops"]}}
NOT_CHECKED: list[CheckFunction] = [
    positive_data_acceptance,  # a schema cannot say that the aspect ratio fits the resolution, or the hash the image
]

config = SchemathesisConfig.from_dict(
    {"generation": {"deterministic": True, "max-examples": EXAMPLES, "with-security-parameters": False}}
)
schema = schemathesis.openapi.from_dict(describe(), config=config)


@dataclass(frozen=True)
class Service:
    """Where it is, and the requests that it knows."""

    url: str
    session: requests.Session
    known: list[dict[str, str]]


@pytest.fixture
def service(database_url: str, png: bytes) -> Iterator[Service]:
    """The API on a real socket, with requests in many states and callbacks in quarantine."""
    app = create_app(make_settings(database_url, clients=CLIENTS))
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serving(app)) as url,
        requests.Session() as session,
    ):
        session.headers.update(KEY)
        yield Service(url, session, _furnish(url, session, png))


def _furnish(url: str, session: requests.Session, png: bytes) -> list[dict[str, str]]:
    asked = [session.post(url + REQUESTS, json=make_event()).json() for _ in range(6)]
    unknown = {"requestId": str(uuid4()), "correlationId": str(uuid4())}
    fresh, with_image, with_url, with_error, cancelled, _ = asked
    awaited = completed(with_url, png, imageData=None, imageUrl="https://example.com/a.png")
    answers = [session.post(url + CALLBACK, json=e).status_code for e in (completed(with_image, png), awaited, failed(with_error))]
    answers.append(session.post(f"{url}{REQUESTS}/{cancelled['requestId']}/cancel").status_code)
    assert answers == [202, 202, 202, 200]
    refused = [session.post(url + CALLBACK, data=body, headers={"Content-Type": "application/json"}).status_code for body in (b"no", b"{}", b"\xff")]
    refused += [session.post(url + CALLBACK, json=failed(other)).status_code for other in (with_image, unknown)]
    refused.append(session.post(url + CALLBACK_V2, files={"event": (None, b"[]"), "image": png}).status_code)
    assert refused == [400, 422, 400, 409, 404, 422]
    return asked


@schema.parametrize()
@settings(deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_that_the_document_promises(case: schemathesis.Case, service: Service) -> None:
    _aim(case, service)
    case.call_and_validate(
        base_url=service.url, session=service.session, headers=KEY, excluded_checks=NOT_CHECKED
    )


def _aim(case: schemathesis.Case, service: Service) -> None:
    """Point every other call at something that the service knows, so that calls get beyond the 404."""
    path = case.path_parameters
    if isinstance(path, dict) and (known := _known(path.get("requestId"), service)):
        path["requestId"] = known["requestId"]


def _known(generated: object, service: Service) -> dict[str, str] | None:
    try:
        UUID(str(generated))
    except ValueError:
        return None
    seed = zlib.crc32(str(generated).encode())
    return service.known[seed // 2 % len(service.known)] if seed % 2 else None
