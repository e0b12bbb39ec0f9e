"""One trace for each request: the addon's own, through every hop, also when N8N passes nothing on."""

from collections.abc import AsyncIterator, Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from aigen_bridge import tracing
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.tracing.otel import OtelTracer
from callbacks import completed, report
from stage import REQUESTS, Stage, make_event, staged, working

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracing.use(OtelTracer(SimpleSpanProcessor(exporter)))
    yield exporter
    tracing.use(None)


@pytest.fixture
async def traced(spans: InMemorySpanExporter, database_url: str) -> AsyncIterator[Stage]:
    async with staged(database_url) as stage, working(stage.settings):
        yield stage


async def ask(stage: Stage, **headers: str) -> dict[str, str]:
    answer = await stage.api.post(REQUESTS, json=make_event(), headers=stage.as_client("odoo") | headers)
    return dict(answer.json())


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def trace_of(span: ReadableSpan) -> str:
    return f"{span.context.trace_id:032x}"


async def test_every_hop_joins_the_trace_of_the_addon(traced: Stage, spans: InMemorySpanExporter) -> None:
    asked = await ask(traced, traceparent=PARENT)
    await traced.until_delivered(asked["requestId"])
    found = by_name(spans)

    asks_and_reports = {"ask", "name_job", "progress"}
    assert set(found) == {"accept", "dispatch", "POST n8n", *asks_and_reports, "callback", "deliver", "POST odoo"}
    assert {trace_of(span) for span in found.values()} == {TRACE}
    accept = found["accept"]
    assert accept.parent is not None
    assert f"{accept.parent.span_id:016x}" == SPAN
    for name, parent in {
        "dispatch": "accept",
        "deliver": "accept",
        "POST n8n": "dispatch",
    }.items():
        assert found[name].parent is not None
        assert found[name].parent.span_id == found[parent].context.span_id
    callback = found["callback"].parent
    assert callback is not None
    assert callback.span_id in {accept.context.span_id, found["POST n8n"].context.span_id}  # N8N passed it on
    [webhook], odoo = traced.chain.n8n.calls.to("webhook"), traced.chain.odoo.calls.to("jsonrpc")
    assert webhook.headers["traceparent"].split("-")[1] == TRACE
    assert {call.headers["traceparent"].split("-")[1] for call in odoo} == {TRACE}
    assert accept.attributes is not None
    assert accept.attributes["aigen.request_id"] == asked["requestId"]


async def test_a_callback_that_carries_the_trace_is_a_child_of_n8ns_span(
    traced: Stage, spans: InMemorySpanExporter, png: bytes
) -> None:
    traced.chain.n8n.faults.add(Fault(kind=FaultKind.LOSE_CALLBACK, route="callback"))
    asked = await ask(traced, traceparent=PARENT)
    await traced.until(asked["requestId"], lambda r: r["status"] == "dispatched")
    await report(traced, completed(asked, png), traceparent=f"00-{TRACE}-00f067aa0ba902b7-01")

    parent = by_name(spans)["callback"].parent
    assert parent is not None
    assert (f"{parent.span_id:016x}", f"{parent.trace_id:032x}") == ("00f067aa0ba902b7", TRACE)


async def test_every_try_is_a_span_and_a_failed_one_says_so(traced: Stage, spans: InMemorySpanExporter) -> None:
    traced.chain.n8n.faults.add(Fault(kind=FaultKind.STATUS, route="webhook", status=503))
    asked = await ask(traced)
    await traced.until_delivered(asked["requestId"], seconds=40)

    tries = [span for span in spans.get_finished_spans() if span.name == "dispatch"]
    assert [(t.attributes or {})["aigen.outcome"] for t in tries] == ["retry", "done"]
    assert [(t.status.status_code.name, t.status.description) for t in tries] == [
        ("ERROR", "http_503"),
        ("UNSET", None),
    ]
    assert len({trace_of(span) for span in spans.get_finished_spans()}) == 1


@pytest.mark.parametrize("odd", ["nonsense", f"00-{'0' * 32}-{SPAN}-01", f"ff-{TRACE}-{SPAN}-01", PARENT + "-more"])
async def test_a_context_that_is_none_is_ignored(idle_stage: Stage, odd: str) -> None:
    asked = await ask(idle_stage, traceparent=odd)
    assert (await idle_stage.read(asked["requestId"]))["status"] == "queued"


async def test_without_traces_the_callers_context_is_passed_on_unchanged(stage: Stage) -> None:
    asked = await ask(stage, traceparent=PARENT)
    await stage.until_delivered(asked["requestId"])
    [call] = stage.chain.n8n.calls.to("webhook")
    assert call.headers["traceparent"] == PARENT
