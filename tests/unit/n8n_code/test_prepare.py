"""What is brought into N8N: the shipped workflows with one's own settings and keys."""

import json
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from code_nodes import CODE, NODE

from aigen_bridge.domain.signature import new_secret, secret_bytes

NAMES = ("AIGEN_N8N__API_KEY", "client_key_n8n", "ai_service_key", "signing_secret_n8n")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder of secrets."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_text(f"the-{name}\n")
    (folder / "signing_secret_n8n").write_text(new_secret())
    return folder


def prepare(keys: Path, settings: str = "{}") -> subprocess.CompletedProcess[str]:
    chosen = keys.parent / "settings.json"
    chosen.write_text(settings)
    command = [NODE, CODE.parent / "prepare.js", keys.parent / "out", chosen, keys]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env={"FROM_OUTSIDE": "1"})


def test_settings_go_where_they_are_known_and_keys_where_they_are_shown(keys: Path) -> None:
    done = prepare(keys, json.dumps({"bridgeUrl": "https://bridge.example.com", "callbackStyle": "v1", "other": 1}))
    assert done.returncode == 0, done.stderr
    out = keys.parent / "out"
    found = {
        path.stem: next(n for n in json.loads(path.read_text())["nodes"] if n["name"] == "Settings")
        for path in (out / "workflows").iterdir()
    }
    main, letters = (
        json.loads(found[name]["parameters"]["jsonOutput"])["settings"] for name in ("aigen-main", "aigen-dead-letter")
    )
    credentials = {one["id"]: one["data"] for one in json.loads((out / "credentials.json").read_text())}
    assert (main["callbackStyle"], main["outputFormat"], "other" in main) == ("v1", "png", False)
    assert letters == {"bridgeUrl": "https://bridge.example.com"}
    assert credentials["aigen-ai-key"]["value"] == "Key the-ai_service_key"
    assert credentials["aigen-bridge-key"]["value"] == "the-client_key_n8n"
    secret = (keys / "signing_secret_n8n").read_text()
    assert credentials["aigen-signing-secret"]["hmacSecret"] == secret_bytes(secret).decode()
    assert stat.S_IMODE((out / "credentials.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        ({"aiUrl": "https://fal.run/fal-ai/flux-lora"}, "sync"),
        ({"aiUrl": "https://queue.fal.run/fal-ai/flux-lora", "aiMode": "queue"}, "queue"),
        ({}, "queue"),
    ],
    ids=["of an earlier version", "with a mode", "without an address"],
)
def test_settings_of_an_earlier_version_stay_synchronous(keys: Path, given: dict[str, str], mode: str) -> None:
    done = prepare(keys, json.dumps(given))
    workflow = json.loads((keys.parent / "out/workflows/aigen-main.json").read_text())
    node = next(node for node in workflow["nodes"] if node["name"] == "Settings")
    assert json.loads(node["parameters"]["jsonOutput"])["settings"]["aiMode"] == mode
    assert ("no aiMode" in done.stderr) == (mode == "sync")


def test_own_settings_win_over_the_shipped_ones_and_the_others_stay(keys: Path) -> None:
    (keys.parent / "settings.local.json").write_text('{"aiUrl": "https://fal.run/own", "loras": {"own": null}}')
    shipped = {"aiUrl": "https://queue.example.com", "aiMode": "queue", "callbackStyle": "v1", "loras": {"*": None}}
    done = prepare(keys, json.dumps(shipped))
    settings, _ = prepared(keys)
    found = [settings[name] for name in ("aiUrl", "aiMode", "callbackStyle", "loras")]
    assert found == ["https://fal.run/own", "sync", "v1", {"own": None}]
    assert "settings.local.json has an aiUrl and no aiMode" in done.stderr


def test_the_origins_that_get_the_key_of_the_ai_service_are_checked(keys: Path) -> None:
    good = prepare(keys, '{"aiOrigins": ["https://fal.run", "http://10.0.0.7:8000/"]}')
    assert (good.returncode, prepared(keys)[0]["aiOrigins"]) == (0, ["https://fal.run", "http://10.0.0.7:8000/"])
    wrong = prepare(keys, '{"aiOrigins": ["https://fal.run/fal-ai", "fal.run"]}')
    assert wrong.returncode == 1
    assert "https://fal.run/fal-ai, fal.run" in wrong.stderr


def test_a_wrong_price_is_named_at_the_import(keys: Path) -> None:
    good = '{"price": {"amount": "0.035", "currency": "USD", "per": "megapixel"}}'
    assert "price" not in prepare(keys, good).stderr
    for wrong in (
        '{"amount": "3.5e-2", "currency": "USD", "per": "image"}',
        '{"amount": "1", "per": "image"}',
        '{"amount": "1", "currency": "USD"}',
        '"1 USD"',
    ):
        done = prepare(keys, f'{{"price": {wrong}}}')
        assert (done.returncode, "The price in the settings has not the form" in done.stderr) == (0, True)


def prepared(keys: Path) -> tuple[dict[str, Any], str]:
    """The settings of the main workflow, and the secret of the bridge as N8N gets it."""
    workflow = json.loads((keys.parent / "out/workflows/aigen-main.json").read_text())
    node = next(node for node in workflow["nodes"] if node["name"] == "Settings")
    credentials = {one["id"]: one["data"] for one in json.loads((keys.parent / "out/credentials.json").read_text())}
    return json.loads(node["parameters"]["jsonOutput"])["settings"], credentials["aigen-bridge-secret"]["hmacSecret"]


def test_the_webhook_checks_signatures_exactly_when_there_is_a_secret_of_the_bridge(keys: Path) -> None:
    without = prepare(keys, '{"verifySignature": true}')
    settings, unknown = prepared(keys)
    assert (without.returncode, settings["verifySignature"], len(unknown)) == (0, False, 64)
    assert "does not verify" in without.stderr
    secret = new_secret()
    (keys / "AIGEN_N8N__SIGNING_SECRET").write_text(secret)
    with_secret = prepare(keys, '{"verifySignature": false}')
    settings, known = prepared(keys)
    assert (with_secret.stderr, settings["verifySignature"]) == ("", True)
    assert known == secret_bytes(secret).decode()


def test_a_missing_secret_is_named(keys: Path) -> None:
    (keys / "ai_service_key").write_text("")
    done = prepare(keys)
    assert (done.returncode, "ai_service_key" in done.stderr) == (1, True)
    assert not (keys.parent / "out").exists()


def test_a_signing_secret_that_is_no_text_is_refused(keys: Path) -> None:
    (keys / "signing_secret_n8n").write_text("whsec_AAECAwQFBgcICQoLDA0ODw==")
    done = prepare(keys)
    assert (done.returncode, "as text" in done.stderr) == (1, True)


def test_settings_that_are_no_json_are_named(keys: Path) -> None:
    done = prepare(keys, "{")
    assert (done.returncode, "settings.json" in done.stderr) == (1, True)
