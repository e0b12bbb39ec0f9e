"""N8N with a workflow that does wrong on command: lies, repeats, contradictions, losses."""

import hashlib
import io

import pybase64
import pytest
from n8n_stage import CALLBACK_KEY, COMPLETED, FAILED, assert_describes, checked
from PIL import Image

from aigen_bridge.sim.faults import Fault, FaultKind


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [("wrong_hash", "hash"), ("wrong_size", "size"), ("wrong_dimensions", "dimensions")],
)
async def test_a_callback_can_lie_about_its_image(start, mailbox, make_event, kind, wrong):
    n8n, post = await start()
    n8n.faults.add(Fault(kind=FaultKind(kind)))
    await post(make_event())
    [letter] = await mailbox.wait_for(1)
    content = pybase64.b64decode(checked(letter.event, COMPLETED)["imageData"])
    metadata = letter.event["imageMetadata"]
    lies = {
        "hash": letter.event["hashValue"] != hashlib.sha256(content).hexdigest(),
        "size": metadata["size"] != len(content),
        "dimensions": (metadata["width"], metadata["height"]) != (64, 48),
    }
    assert [name for name, lie in lies.items() if lie] == [wrong]


async def test_a_truncated_image_has_the_hash_and_size_of_what_is_left(start, mailbox, make_event):
    n8n, post = await start()
    n8n.faults.add(Fault(kind=FaultKind.TRUNCATED_IMAGE))
    await post(make_event())
    [letter] = await mailbox.wait_for(1)
    content = pybase64.b64decode(letter.event["imageData"])
    assert_describes(letter.event, content)
    with pytest.raises(OSError, match="truncated"):
        Image.open(io.BytesIO(content)).load()


async def test_an_expired_url_leads_nowhere(start, mailbox, make_event, http):
    n8n, post = await start(callback_style="v1-url")
    n8n.faults.add(Fault(kind=FaultKind.EXPIRED_URL, route="callback"))
    await post(make_event())
    [letter] = await mailbox.wait_for(1)
    assert (await http.get(letter.event["imageUrl"])).status_code == 404


async def test_a_callback_can_come_twice(start, mailbox, make_event):
    n8n, post = await start()
    n8n.faults.add(Fault(kind=FaultKind.DUPLICATE))
    await post(make_event())
    await mailbox.wait_for(2)
    await n8n.idle()
    assert len({letter.raw for letter in mailbox.letters}) == 1
    assert len(mailbox.letters) == 2


async def test_a_callback_can_be_contradicted(start, mailbox, make_event):
    n8n, post = await start()
    n8n.faults.add(Fault(kind=FaultKind.CONTRADICT))
    await post(make_event())
    first, second = await mailbox.wait_for(2)
    assert first.event["status"] == "completed"
    assert checked(second.event, FAILED)["requestId"] == first.event["requestId"]


async def test_a_callback_can_be_malformed_lost_late_or_sent_with_another_key(start, mailbox, make_event):
    n8n, post = await start()
    kinds = (FaultKind.MALFORMED, FaultKind.LOSE_CALLBACK, FaultKind.WRONG_KEY, FaultKind.DELAY)
    n8n.faults.add(*(Fault(kind=kind, delay=0.1, route="callback") for kind in kinds))
    for _ in kinds:
        await post(make_event())
        await n8n.idle()
    malformed, impostor, late = mailbox.letters
    assert set(malformed.event) == {"requestId", "correlationId"}
    assert impostor.headers["x-api-key"] != CALLBACK_KEY
    assert late.event["status"] == "completed"
