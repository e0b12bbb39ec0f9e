"""Addresses of alerts hold passwords: a wrong one stops the start, and no password is ever shown."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from processes import COMMAND, run

SECRET = "alert-hunter2"


@pytest.mark.parametrize(
    "wrong",
    [
        f"nosuch://user:{SECRET}@example.com",
        f"mailto://user:{SECRET}@",
        SECRET,
        f"slack://{SECRET}",
        json.dumps([f"mailto://user:{SECRET}@"]),
        f'["mailto://user:{SECRET}@example.com"',
    ],
)
def test_a_wrong_address_stops_the_start_and_is_not_shown(
    configured: Mapping[str, str], tmp_path: Path, wrong: str
) -> None:
    command = "up" if wrong.startswith("nosuch") else "worker"  # `up` logs before it knows all settings
    ended = run(command, environment={**configured, "AIGEN_ALERTS__URLS": wrong}, cwd=tmp_path)

    assert ended.returncode == 2
    assert "AIGEN_ALERTS__URLS" in ended.stderr
    assert SECRET not in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("scheme", ["mailto", "json"])
def test_a_channel_that_fails_is_logged_without_its_password(
    configured: Mapping[str, str], database_url: str, tmp_path: Path, scheme: str
) -> None:
    url = f"{scheme}://user:{SECRET}@127.0.0.1:9/{SECRET}?from=bridge@example.com&to=ops@example.com"
    settings = {**configured, "AIGEN_ALERTS__URLS": url, "AIGEN_LOG__LEVEL": "DEBUG", "AIGEN_LOG__FORMAT": "json"}
    _cause_an_alert(database_url)
    log = tmp_path / "worker.log"
    with log.open("w") as out:
        worker = subprocess.Popen(
            [*COMMAND, "worker"], env={**os.environ, **settings}, stdout=out, stderr=out, cwd=tmp_path
        )
        try:
            _wait_for(log, "alert.retry")
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.wait(60)

    told = log.read_text()
    assert "alert.channel_failed" in told
    assert SECRET not in told


def _cause_an_alert(database_url: str) -> None:
    with closing(psycopg.connect(database_url, autocommit=True)) as connection:
        connection.execute("INSERT INTO incidents (cause, times) VALUES ('timed_out', 1)")
        connection.execute("INSERT INTO outbox (incident_id, step) SELECT id, 'alert' FROM incidents")


def _wait_for(log: Path, text: str) -> None:
    until = time.monotonic() + 60
    while text not in log.read_text():
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.1)
