"""The log on a terminal: one line for each event, in which quoted text cannot act. JSON stays exact."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from aigen_bridge import logs
from aigen_bridge.clients import notify

HOSTILE = "bad\n2026-01-01 00:00:00 [info     ] all is well \x1b[2J\u202e"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """The log of this process from now on; the test configures its style."""
    root, output = logging.getLogger(), io.StringIO()
    kept, level = root.handlers[:], root.level
    before = structlog.get_config()
    yield output
    root.handlers[:] = kept
    root.setLevel(level)
    structlog.configure(**before)


def log_in(style: str, output: io.StringIO) -> None:
    logs.configure("DEBUG", style)
    structlog.configure(cache_logger_on_first_use=False)  # or loggers would keep this style after the test
    logging.getLogger().handlers[0].setStream(output)  # type: ignore[attr-defined]
    error = RuntimeError(HOSTILE)
    structlog.get_logger("test").error(HOSTILE, detail=HOSTILE, list=[HOSTILE], exc_info=error)
    logging.getLogger("library").warning("said %s", HOSTILE)


def test_on_a_terminal_quoted_text_is_spelled_out(written: io.StringIO) -> None:
    log_in("console", written)
    text = written.getvalue()

    assert r"all is well \x1b[2J\u202e" in text
    assert "\u202e" not in text
    assert "\x1b[2J" not in text
    assert not any(line.startswith("2026-01-01") for line in text.splitlines())
    assert "  RuntimeError: bad" in text


def test_as_json_it_is_exact(written: io.StringIO) -> None:
    log_in("json", written)
    event, library = map(json.loads, written.getvalue().splitlines())

    assert (event["event"], event["detail"], library["event"]) == (HOSTILE, HOSTILE, f"said {HOSTILE}")


async def test_the_subject_of_a_mail_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Channel:
        async def async_notify(self, _body: str, *, title: str, **_: str) -> bool:
            titles.append(title)
            return True

    titles: list[str] = []
    monkeypatch.setattr(notify, "_channel", lambda _url: Channel())
    await notify.Notifier(["mailto://x"]).notify("down\r\nBcc: all@example.com", "body", recovered=False)  # type: ignore[list-item]

    assert titles == ["down\\r\\nBcc: all@example.com"]
