"""Signed callbacks, and signed calls to N8N."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from aigen_bridge.domain.signature import new_secret, secret_bytes, verify
from aigen_bridge.settings import rotation
from aigen_bridge.sim.faults import Fault, FaultKind
from callbacks import completed, failed, report, report_v2, signed
from stage import CALLBACK, CLIENTS, KEYS, REQUESTS, Stage, make_event, make_settings, serve_api, staged, working

OLD, NEW, OTHER = new_secret(), new_secret(), new_secret()


def clients(**n8n: Any) -> dict[str, Any]:
    return CLIENTS | {"n8n": {"keys": [KEYS["n8n"]], "scopes": ["callbacks"], **n8n}}


@pytest.fixture
async def strict(database_url: str) -> AsyncIterator[Stage]:
    """A stage that takes signed callbacks only, by either of two secrets."""
    only_signed = clients(signing_secrets=[OLD, NEW], signature_required=True)
    async with staged(database_url, clients=only_signed) as stage:
        yield stage


async def test_a_good_signature_by_either_secret_gets_in(strict: Stage) -> None:
    for secret in (OLD, NEW):
        asked = await strict.ask()
        event = failed(asked)
        answer = await report(strict, event, **signed(json.dumps(event).encode(), secret))
        assert answer.status_code == 202


async def test_a_secret_that_is_in_the_files_is_known_at_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a key is. The process need not have looked at the files since."""
    monkeypatch.setattr(rotation, "SETTLED", 0.01)
    before, after = (
        make_settings(database_url, clients=clients(signing_secrets=secrets, signature_required=True))
        for secrets in ([OLD], [OLD, NEW])
    )
    async with serve_api(before, rotation=rotation.Rotation(before, lambda: after)) as api:
        asked = (await api.post(REQUESTS, json=make_event(), headers={"X-API-Key": KEYS["odoo"]})).json()
        body = json.dumps(failed(asked)).encode()
        for secret, status in ((OTHER, 401), (NEW, 202)):
            headers = {"X-API-Key": KEYS["n8n"], "Content-Type": "application/json", **signed(body, secret)}
            assert (await api.post(CALLBACK, content=body, headers=headers)).status_code == status


async def test_no_signature_is_a_401_where_one_is_required(strict: Stage) -> None:
    asked = await strict.ask()
    answer = await report(strict, failed(asked))

    assert (answer.status_code, answer.json()["code"]) == (401, "signature_invalid")
    assert (await strict.read(asked["requestId"]))["status"] == "queued"


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "rubbish"},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1a,%%%"},
        {"webhook-timestamp": "yesterday"},
        {"webhook-timestamp": "9" * 300},
        {"webhook-timestamp": "-1"},
        {"webhook-id": "another"},
        {"webhook-id": ""},
    ],
)
async def test_a_malformed_signature_is_a_401_and_never_a_500(strict: Stage, change: dict[str, str]) -> None:
    asked = await strict.ask()
    event = failed(asked)
    headers = signed(json.dumps(event).encode(), OLD) | change
    answer = await report(strict, event, **headers)

    assert (answer.status_code, answer.json()["code"]) == (401, "signature_invalid")


async def test_another_secret_another_time_or_another_body_is_a_401(strict: Stage) -> None:
    asked = await strict.ask()
    event = failed(asked)
    body = json.dumps(event).encode()
    old = datetime.now(UTC) - timedelta(minutes=6)
    for headers in (signed(body, OTHER), signed(body, OLD, at=old), signed(body + b" ", OLD)):
        assert (await report(strict, event, **headers)).status_code == 401
    assert (await strict.read(asked["requestId"]))["status"] == "queued"


async def test_the_signature_covers_the_raw_bytes(strict: Stage) -> None:
    asked = await strict.ask()
    body = json.dumps(failed(asked), indent=4, ensure_ascii=False).encode() + b"\n"
    headers = strict.as_client("n8n") | {"Content-Type": "application/json"} | signed(body, OLD)

    assert (await strict.api.post(CALLBACK, content=body, headers=headers)).status_code == 202


async def test_in_v2_the_signature_covers_the_event_part(strict: Stage, png: bytes) -> None:
    asked = await strict.ask()
    body = json.dumps(completed(asked, png, imageData=None)).encode()
    wrong = await report_v2(strict, body, png, **signed(body + b" ", OLD))
    good = await report_v2(strict, body, png, **signed(body, OLD))

    assert (wrong.status_code, good.status_code) == (401, 202)


async def test_where_it_is_optional_a_wrong_signature_is_refused_all_the_same(database_url: str) -> None:
    async with staged(database_url, clients=clients(signing_secrets=[OLD])) as stage:
        asked = await stage.ask()
        event = failed(asked)
        wrong = await report(stage, event, **signed(json.dumps(event).encode(), OTHER))
        unsigned = await report(stage, event)

    assert (wrong.status_code, unsigned.status_code) == (401, 202)


@pytest.mark.parametrize("style", ["v1", "v2"])
async def test_the_whole_chain_works_signed(database_url: str, style: str) -> None:
    only_signed = clients(signing_secrets=[OLD], signature_required=True)
    how = {"signing_secret": OLD, "callback_style": style}
    async with staged(database_url, n8n=how, clients=only_signed) as stage, working(stage.settings):
        asked = await stage.ask()
        assert (await stage.until_delivered(asked["requestId"]))["status"] == "completed"


async def test_what_goes_to_n8n_is_signed_by_every_secret_with_one_id_for_all_tries(database_url: str) -> None:
    async with staged(database_url) as stage:
        secrets = {"signing_secret": SecretStr(OLD), "signing_secrets": (SecretStr(NEW), SecretStr(OLD))}
        first, second = await _two_tries(stage, secrets)

    body = json.dumps(dict(second.fields), ensure_ascii=False).encode()
    assert len(second.headers["webhook-signature"].split()) == 2
    for secret in (OLD, NEW):
        verify([secret_bytes(secret)], second.headers, body, datetime.now(UTC))
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.at < second.at


async def test_without_a_secret_what_goes_to_n8n_has_an_id_and_a_time(database_url: str) -> None:
    async with staged(database_url) as stage:
        first, second = await _two_tries(stage, {})

    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert abs(int(second.headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 60
    assert "webhook-signature" not in second.headers


async def _two_tries(stage: Stage, secrets: dict[str, Any]) -> list[Any]:
    """Returns the calls of N8N's webhook for a request whose first dispatch fails."""
    stage.chain.n8n.faults.add(Fault(kind=FaultKind.STATUS, route="webhook", status=503))
    signing = stage.settings.n8n.model_copy(update=secrets)
    async with working(stage.settings.model_copy(update={"n8n": signing})):
        asked = await stage.ask()
        await stage.until_delivered(asked["requestId"])
    return stage.chain.n8n.calls.to("webhook")
