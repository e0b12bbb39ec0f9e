"""Settings that contradict each other, and settings that do not."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from aigen_bridge.doctor import disk as disks
from aigen_bridge.doctor.contradictions import look_at_settings
from aigen_bridge.doctor.disk import look_at_disk
from aigen_bridge.doctor.finding import Finding, Mark
from aigen_bridge.doctor.subject import Subject
from stage import CLIENTS, UNREACHABLE, make_settings

KEY = "key-for-the-webhook-of-n8n"
SHORT = "whsec_YWJjZGVmZ2hpamtsbW5vcA=="
GOOD: dict[str, Any] = {
    "public_url": "https://bridge.example.com",
    "n8n": {"webhook_url": "https://n8n.example.com/webhook/aigen", "api_key": KEY},
    "odoo": UNREACHABLE["odoo"] | {"url": "https://odoo.example.com"},
    "image_urls": {},
    "alerts": {"urls": ["json://127.0.0.1:9/"]},
}
NORTH = GOOD["odoo"] | {"url": "https://north.example.com"}


def look(**changes: Any) -> list[Finding]:
    given = GOOD | {
        name: GOOD.get(name, {}) | value if isinstance(value, dict) else value for name, value in changes.items()
    }
    settings = make_settings("postgresql://u:p@db/aigen", **given)
    return asyncio.run(look_at_settings(Subject.of(settings)))


def test_good_settings_have_no_contradictions() -> None:
    assert [finding.mark for finding in look()] == [Mark.OK]


def test_the_addresses_of_containers_and_of_one_machine_are_fine() -> None:
    inside = {
        "public_url": "http://api:8000",
        "n8n": {"webhook_url": "http://n8n:5678/webhook/a"},
        "odoo": {"url": "http://odoo:8069"},
    }
    local = {"public_url": "http://127.0.0.1:8000", "n8n": {"webhook_url": "http://localhost:5678/webhook/a"}}
    for changes in (inside, local | {"odoo": {"url": "http://10.0.0.7:8069"}}):
        assert [finding.mark for finding in look(**changes)] == [Mark.OK], look(**changes)


@pytest.mark.parametrize(
    ("changes", "mark", "found", "advice"),
    [
        ({"public_url": "http://localhost:8000"}, "wrong", "is N8N's own machine", "AIGEN_PUBLIC_URL"),
        ({"public_url": "http://bridge.example.com"}, "warning", "AIGEN_PUBLIC_URL is http://", "https://"),
        ({"odoo": {"url": "http://8.8.8.8"}}, "warning", "AIGEN_ODOO__URL is http:// to 8.8.8.8", "https://"),
        ({"n8n": {"webhook_url": "https://n8n.example.com/webhook-test/a"}}, "wrong", "test address", "/webhook/"),
        ({"n8n": {"api_key": "sha256:" + "0" * 64}}, "wrong", "hash of a key", "the key itself"),
        ({"n8n": {"api_key": "key-of-odoo"}}, "warning", "also client 'odoo'", "keys new"),
        ({"clients": CLIENTS | {"ops": {"keys": ["odo-"], "scopes": ["ops"]}}}, "warning", "client 'ops' has", "new"),
        ({"n8n": {"signing_secret": SHORT}}, "warning", "SIGNING_SECRETS has a signing secret", "the old and the new"),
        ({"clients": CLIENTS | {"n8n": CLIENTS["n8n"] | {"signing_secrets": [SHORT]}}}, "warning", "'n8n'", "Replace"),
        ({"alerts": {"urls": []}}, "warning", "AIGEN_ALERTS__URLS is not set", "mailto://"),
        ({"callback": {"deadline": "20s"}}, "wrong", "not longer than the timeout of one webhook call", "5 min"),
        ({"callback": {"deadline": "2m"}}, "warning", "shorter than N8N's own retries", "5 min"),
        ({"callback": {"max_bytes": 200 * 2**20}}, "warning", "larger than Odoo accepts", "Lower it"),
        ({"odoo": {"timeout": "20s"}}, "warning", "may still be repeating", "above 30 s"),
        ({"odoos": {"north": NORTH | {"url": "http://8.8.8.8"}}}, "warning", "url of 'north' in", "https://"),
        ({"odoos": {"north": NORTH | {"timeout": "20s"}}}, "warning", "timeout of 'north' in AIGEN_ODOOS (20", "30 s"),
        ({"odoos": {"north": GOOD["odoo"]}}, "warning", "'default' and Odoo 'north' are the same database", "Keep one"),
        ({"image_urls": {"allow_http": True}}, "warning", "as for development", "Remove them"),
        ({"clients": {"odoo": CLIENTS["odoo"], "ops": CLIENTS["ops"]}}, "wrong", "N8N cannot", "--scope callbacks"),
        ({"clients": {"n8n": CLIENTS["n8n"], "odoo": CLIENTS["odoo"]}}, "warning", "dead letters", "--scope ops"),
    ],
)  # fmt: skip
def test_a_contradiction_is_said_with_what_to_do(changes: dict[str, Any], mark: str, found: str, advice: str) -> None:
    [line] = look(**changes)

    assert (line.mark, found in line.found, advice in line.advice) == (mark, True, True), line
    assert KEY not in line.found + line.advice
    assert SHORT not in line.found + line.advice


def test_a_key_of_which_only_the_hash_is_known_is_recognised() -> None:
    hashed = "sha256:" + hashlib.sha256(KEY.encode()).hexdigest()
    [line] = look(clients=CLIENTS | {"n8n": {"keys": [hashed], "scopes": ["callbacks"]}})

    assert "also client 'n8n'" in line.found


def test_a_certificate_of_our_own_needs_an_https_address(tmp_path: Path) -> None:
    file = tmp_path / "certificate.pem"
    file.touch()
    [line] = look(public_url="http://bridge.internal", tls={"certificate": file, "key": file})

    assert (line.mark, "https only" in line.found) == (Mark.WRONG, True)


def test_each_missing_setting_is_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The parts that are there can be looked at all the same."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIGEN_DATABASE_URL", "postgresql://u:pw-very-secret@h/d")
    monkeypatch.setenv("AIGEN_N8N__WEBHOOK_URL", "n8n")
    monkeypatch.setenv("AIGEN_ODOOS", json.dumps({"north": NORTH | {"api_key": "key-of-the-north"}}))
    subject = Subject.here()
    found = [line.found for line in asyncio.run(look_at_settings(subject))]

    assert "AIGEN_PUBLIC_URL is missing." in found
    assert "AIGEN_N8N__WEBHOOK_URL is wrong: it must be an http:// or https:// address." in found
    assert (subject.settings, subject.n8n, subject.database_url is not None) == (None, None, True)
    assert {"pw-very-secret", "key-of-the-north"} <= set(subject.secrets())
    assert list(subject.odoos) == ["north"]


@pytest.mark.parametrize(("free", "mark"), [(50, "ok"), (5, "warning"), (1, "wrong")])
def test_a_disk_that_fills_up(monkeypatch: pytest.MonkeyPatch, free: int, mark: str) -> None:
    usage = disks.shutil._ntuple_diskusage(100, 100 - free, free)
    monkeypatch.setattr(disks.shutil, "disk_usage", lambda _folder: usage)

    assert {line.mark for line in asyncio.run(look_at_disk(Subject()))} == {mark}
