"""The demo fails if the image that Odoo got is not marked as it should be."""

from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from aigen_bridge.cli import demo_marking
from aigen_bridge.cli.demo_marking import marking
from aigen_bridge.domain.addon import FIRST_WITH_MARKS, is_older
from aigen_bridge.domain.marks import with_metadata
from aigen_bridge.domain.provenance import MarkingMode, Origin
from aigen_bridge.sim.demo_request import DemoFailedError, Wish, ask
from image_files import LIGHTHOUSE

DESCRIBED = with_metadata(LIGHTHOUSE, "png", Origin(generated_at=datetime.now(UTC)), "aigen-bridge")


@pytest.mark.parametrize(
    ("mode", "content"),
    [(MarkingMode.METADATA, LIGHTHOUSE), (MarkingMode.C2PA, LIGHTHOUSE), (MarkingMode.C2PA, DESCRIBED)],
)
def test_an_image_without_the_mark_that_was_asked_for_fails(mode: MarkingMode, content: bytes, tmp_path: Path) -> None:
    (image := tmp_path / "image.png").write_bytes(content)
    demo = marking(mode)
    assert demo is not None
    with pytest.raises(DemoFailedError, match="not marked as it should be"):
        demo.check(image)


def test_the_mark_is_shown(tmp_path: Path) -> None:
    (image := tmp_path / "image.png").write_bytes(DESCRIBED)
    demo = marking(MarkingMode.METADATA)
    assert demo is not None
    assert demo.check(image).startswith("marked as made by AI: http://cv.iptc.org/")


def test_without_the_library_the_demo_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo_marking, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        marking(MarkingMode.C2PA)
    assert "pip install 'aigen-bridge[marking]'" in capsys.readouterr().err


async def test_the_simulated_odoo_takes_images_that_are_marked_later() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert not is_older(request.headers["X-Aigen-Addon"], FIRST_WITH_MARKS)
        return httpx.Response(202, json={"requestId": "1"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://bridge") as api:
        assert await ask(api, Wish("A boat", "1024x1024", None)) == "1"


def test_a_demo_without_marking_checks_nothing() -> None:
    assert marking(MarkingMode.OFF) is None
