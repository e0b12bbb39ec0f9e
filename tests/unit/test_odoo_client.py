"""The addon's protocol works on any transport: the client and the probe, on a fake one."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from aigen_bridge.clients.odoo import OdooClient, OdooProbe
from aigen_bridge.domain.errors import PermanentError, TransientError

MODEL, METHOD = "aigen.image.request", "bridge_apply_result"
APPLIED = {"applied": True, "recordId": 1, "attachmentId": False}
PAYLOAD = {"requestId": "2b1f", "version": 3, "status": "failed", "errorCode": "nsfw"}

Answer = Callable[[Mapping[str, Any]], Any]


class FakeTransport:
    """An `OdooTransport` that records its calls. `answer` gets the arguments of a call, and returns or raises."""

    protocol = "JSON-RPC"

    def __init__(self, answer: Answer = lambda _: APPLIED) -> None:
        self.calls: list[tuple[str, str, Mapping[str, Any]]] = []
        self.logins = 0
        self.closed = False
        self._answer = answer

    async def call(self, model: str, method: str, arguments: Mapping[str, Any]) -> Any:
        self.calls.append((model, method, arguments))
        return self._answer(arguments)

    async def version(self) -> str:
        return "18.0"

    async def login(self) -> None:
        self.logins += 1

    async def aclose(self) -> None:
        self.closed = True


def raising(error: Exception) -> Answer:
    def answer(_arguments: Mapping[str, Any]) -> Any:
        raise error

    return answer


def user_error_about(template: str) -> Answer:
    """Refuses with Odoo's UserError; `{}` in the text becomes the request's id."""

    def answer(arguments: Mapping[str, Any]) -> Any:
        detail = "Odoo answered odoo.exceptions.UserError: " + template.format(arguments["payload"]["requestId"])
        raise PermanentError("odoo_usererror", detail, http_status=200)

    return answer


async def test_a_result_reaches_the_transport_as_the_payload_of_the_addons_method() -> None:
    transport = FakeTransport()
    await OdooClient(transport).apply_result(PAYLOAD)

    assert transport.calls == [(MODEL, METHOD, {"payload": PAYLOAD})]


async def test_an_answer_that_the_result_is_known_already_is_a_success() -> None:
    await OdooClient(FakeTransport(lambda _: APPLIED | {"applied": False})).apply_result(PAYLOAD)


@pytest.mark.parametrize("answer", [None, True, [], {"applied": None}, {"applied": 1}, {"applied": "yes"}])
async def test_an_answer_that_is_not_the_addons_is_an_error(answer: Any) -> None:
    with pytest.raises(PermanentError) as caught:
        await OdooClient(FakeTransport(lambda _: answer)).apply_result(PAYLOAD)

    assert caught.value.code == "odoo_answer_unexpected"


@pytest.mark.parametrize("answer", [{}, {"status": "maintenance"}, {"error": {"code": 503}}])
async def test_an_object_that_does_not_say_what_was_applied_may_be_a_proxys_and_pass(answer: Any) -> None:
    transport = FakeTransport(lambda _: answer)
    for ask in (lambda: OdooClient(transport).apply_result(PAYLOAD), OdooProbe(transport).offer_nothing):
        with pytest.raises(TransientError, match="odoo_answer_unreadable") as caught:
            await ask()
        assert (caught.value.away, caught.value.tries) == (True, None)


@pytest.mark.parametrize(
    "error",
    [TransientError("odoo_unreachable", "refused", away=True), PermanentError("odoo_accesserror", "no right")],
)
async def test_an_error_of_the_transport_passes_through_the_client_and_the_probe(error: Exception) -> None:
    transport = FakeTransport(raising(error))
    for ask in (lambda: OdooClient(transport).apply_result(PAYLOAD), OdooProbe(transport).offer_nothing):
        with pytest.raises(type(error)) as caught:
            await ask()
        assert caught.value is error


async def test_the_probe_offers_a_result_that_cannot_apply() -> None:
    transport = FakeTransport()
    for _ in range(2):
        await OdooProbe(transport).offer_nothing()

    offered = [arguments["payload"] for *_, arguments in transport.calls]
    assert [call[:2] for call in transport.calls] == [(MODEL, METHOD)] * 2
    assert [(result["version"], result["status"]) for result in offered] == [(0, "failed")] * 2
    assert offered[0]["requestId"] != offered[1]["requestId"]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("Object aigen.image.request doesn't exist", "odoo_model_missing"),
        ("There is no aigen.image.request {}", "odoo_usererror"),
        ("There is no such image request.", "odoo_usererror"),
    ],
)
async def test_the_probe_tells_a_missing_model_from_the_addons_own_refusal(message: str, code: str) -> None:
    with pytest.raises(PermanentError) as caught:
        await OdooProbe(FakeTransport(user_error_about(message))).offer_nothing()

    assert caught.value.code == code
    assert message.format("")[:20] in caught.value.detail


async def test_the_probe_asks_for_version_and_login_without_a_call_of_a_model() -> None:
    transport = FakeTransport()
    probe = OdooProbe(transport)
    version, took = await probe.version()
    await probe.login()

    assert (version, took.total_seconds() >= 0) == ("18.0", True)
    assert (transport.logins, transport.calls) == (1, [])


@pytest.mark.parametrize("user", [OdooClient, OdooProbe])
async def test_closing_the_client_or_the_probe_closes_its_transport(user: type[OdooClient | OdooProbe]) -> None:
    transport = FakeTransport()
    await user(transport).aclose()

    assert transport.closed
