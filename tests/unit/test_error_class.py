"""Errors by class: few enough to be labels, telling enough to act on."""

import asyncio

import pytest

from aigen_bridge.clients.outbound import outbound
from aigen_bridge.domain.errors import InternalError, PermanentError, StepError, TransientError
from aigen_bridge.metrics import CLASSES, as_text, error_class
from scrape import read


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, "none"),
        (TransientError("timeout", "N8N did not answer in time."), "timeout"),
        (TransientError("odoo_unreachable", "refused"), "connection"),
        (TransientError("http_429", "slow down", http_status=429), "http_429"),
        (PermanentError("http_403", "no", http_status=403), "http_4xx"),
        (TransientError("odoo_http_502", "bad gateway", http_status=502), "http_5xx"),
        (PermanentError("odoo_accesserror", "no rights", http_status=200), "fault"),
        (PermanentError("odoo_accesserror", "no rights, over JSON-2", http_status=403), "fault"),
        (TransientError("odoo_serializationfailure", "over JSON-2", http_status=500), "fault"),
        (PermanentError("odoo_login_refused", "over JSON-2", http_status=401), "fault"),
        (PermanentError("odoo_http_403", "a proxy", http_status=403), "http_4xx"),
        (PermanentError("odoo_login_refused", "no"), "fault"),
        (InternalError("unexpected", "KeyError"), "internal"),
        (PermanentError("image_rejected", "not an image"), "other"),
        (PermanentError("what a stranger chose", "odd"), "other"),
    ],
)
def test_every_error_has_one_of_a_few_classes(error: StepError | None, expected: str) -> None:
    assert error_class(error) == expected
    assert expected in CLASSES


async def test_a_call_that_the_worker_gave_up_at_its_end_says_nothing_about_its_destination() -> None:
    async def hang() -> None:
        with outbound("image", "GET", "https://images.example.com/a.png?key=secret"):
            await asyncio.sleep(60)

    before = read(as_text().decode())
    task = asyncio.create_task(hang())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert task.cancelled()
    name = "aigen_outbound_calls_total"
    assert read(as_text().decode()).total(name, destination="image") == before.total(name, destination="image")
