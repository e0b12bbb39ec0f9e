"""Calls that a machine thinks up from the OpenAPI document, against the real service on a real PostgreSQL.

Right calls, wrong calls and calls at the limits: every answer is one that the document promises. The calls are the
same in every run.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
import requests
import schemathesis
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import allow_header_conformance, positive_data_acceptance, unsupported_method

from aigen_bridge.api.app import create_app, describe
from aigen_bridge.api.odoo_database import HEADER, PATTERN
from aigen_bridge.sim.serving import serving
from callbacks import CALLBACK_V2, completed, failed
from stage import CALLBACK, REQUESTS, make_event, make_settings

EXAMPLES = 10
"""For each endpoint, beside the calls at the limits of every field, which are always tried."""
KEY = {"X-API-Key": "key-of-everyone"}
CLIENTS = {"everyone": {"keys": list(KEY.values()), "scopes": ["requests", "callbacks", "ops"]}}
GENERATION = {"deterministic": True, "max-examples": EXAMPLES, "with-security-parameters": False}
NOT_CHECKED = [
    positive_data_acceptance,  # no schema can say that a ratio fits the resolution, or that a hash is the image's
    unsupported_method,  # GET …/dead-letters/replay reads the dead letter of that name: 422, not 405
    allow_header_conformance,  # the framework names the methods of the first route of a path, not of all
]
QUARANTINED = 6
DATABASE = "5f0c6a7e-6f7b-4a64-9f2b-0b8f4f5f2d11; odoo"
"""The database that the settings name. Its uuid is not known."""

schema = schemathesis.openapi.from_dict(describe(), config=SchemathesisConfig.from_dict({"generation": GENERATION}))


@dataclass(frozen=True)
class Service:
    """Where it is, and the requests that it knows."""

    url: str
    session: requests.Session
    known: list[dict[str, Any]]


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
        known = [session.post(url + REQUESTS, json=make_event()).json() for _ in range(6)]
        _settle(url, session, known, png)
        _refuse(url, session, known[1], png)
        yield Service(url, session, known)


def _settle(url: str, session: requests.Session, known: list[dict[str, Any]], png: bytes) -> None:
    with_image, with_url, with_error, cancelled, *_ = known
    away = completed(with_url, png, imageData=None, imageUrl="https://images.example/1.png")
    for event in (completed(with_image, png), away, failed(with_error)):
        assert session.post(url + CALLBACK, json=event).status_code == 202
    assert session.post(f"{url}{REQUESTS}/{cancelled['requestId']}/cancel").status_code == 200


def _refuse(url: str, session: requests.Session, with_image: dict[str, Any], png: bytes) -> None:
    """Fill the quarantine."""
    unknown = {"requestId": str(uuid4()), "correlationId": str(uuid4())}
    for body, status in ((b"no", 400), (b"\xff", 400), (b"{}", 422)):
        answer = session.post(url + CALLBACK, data=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == status
    assert session.post(url + CALLBACK, json=failed(with_image)).status_code == 409
    assert session.post(url + CALLBACK, json=failed(unknown)).status_code == 404
    assert session.post(url + CALLBACK_V2, files={"event": (None, b"[]"), "image": png}).status_code == 422


@schema.parametrize()
@settings(deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_that_the_document_promises(case: schemathesis.Case, service: Service) -> None:
    _aim(case, service)
    case.call_and_validate(base_url=service.url, session=service.session, headers=KEY, excluded_checks=NOT_CHECKED)


def _aim(case: schemathesis.Case, service: Service) -> None:
    """Point calls at what the service knows, and new requests at what it does not. What is wrong stays wrong."""
    seed = zlib.crc32(repr((case.path_parameters, case.body)).encode())
    request = service.known[seed % len(service.known)]
    if case.operation.path == REQUESTS:
        request = {"requestId": str(UUID(int=seed)), "correlationId": request["correlationId"]}
    letter = {"id": f"callback-{1 + seed % QUARANTINED}"}
    if seed % 8 and re.fullmatch(PATTERN, str((case.headers or {}).get(HEADER))):
        case.headers[HEADER] = DATABASE
    event = case.body.get("event", case.body) if isinstance(case.body, dict) else None
    for fields in (case.path_parameters, event):
        if isinstance(fields, dict) and seed % 8:  # the others stay unknown
            fields |= {name: known for name, known in (request | letter).items() if _is_id(fields.get(name))}


def _is_id(generated: object) -> bool:
    form = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|callback-[0-9]+"
    return isinstance(generated, str) and re.fullmatch(form, generated, re.IGNORECASE) is not None
