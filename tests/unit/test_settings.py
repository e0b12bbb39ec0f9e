"""Settings: typed, complete, and silent about secrets."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from aigen_bridge.settings import Settings, WrongSettingsError, load
from aigen_bridge.settings.values import Duration

COMPLETE: dict[str, str] = {
    "AIGEN_DATABASE_URL": "postgresql://bridge:db-secret@localhost/bridge",
    "AIGEN_PUBLIC_URL": "https://bridge.example.com/",
    "AIGEN_N8N__WEBHOOK_URL": "https://n8n.example.com/webhook/aigen/v1/generate",
    "AIGEN_N8N__API_KEY": "n8n-secret",
    "AIGEN_ODOO__URL": "https://odoo.example.com",
    "AIGEN_ODOO__DATABASE": "odoo",
    "AIGEN_ODOO__LOGIN": "bridge",
    "AIGEN_ODOO__API_KEY": "odoo-secret",
    "AIGEN_CLIENTS": json.dumps({"odoo": {"keys": ["client-secret"], "scopes": ["requests"]}}),
}


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    monkeypatch.chdir(tmp_path)
    for name, value in COMPLETE.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def trouble() -> list[str]:
    with pytest.raises(WrongSettingsError) as caught:
        load(Settings)
    return caught.value.lines


def test_complete_settings_load(complete: pytest.MonkeyPatch) -> None:
    settings = load(Settings)
    assert settings.callback_url == "https://bridge.example.com/api/v1/influencegen/ai-image-callback"
    assert settings.n8n.timeout == timedelta(seconds=30)
    assert settings.database_url.get_secret_value().startswith("postgresql+psycopg://")


def test_no_secret_is_shown(complete: pytest.MonkeyPatch) -> None:
    settings = load(Settings)
    for text in (repr(settings), str(settings), settings.model_dump_json()):
        for secret in ("db-secret", "n8n-secret", "odoo-secret", "client-secret"):
            assert secret not in text


@pytest.mark.parametrize(
    "place",
    [
        "h1,h2/db?target_session_attrs=read-write",
        "h1:5432,h2:5433/db",
        "h1,h2:5433/db",
        "[::1]:5432,h2/db",
        "/db?host=/run",
    ],
)
def test_the_database_may_be_on_several_hosts(complete: pytest.MonkeyPatch, place: str) -> None:
    complete.setenv("AIGEN_DATABASE_URL", f"postgresql://u:p@{place}")
    assert load(Settings).database_url.get_secret_value() == f"postgresql+psycopg://u:p@{place}"


def test_each_port_of_the_database_must_be_one(complete: pytest.MonkeyPatch) -> None:
    complete.setenv("AIGEN_DATABASE_URL", "postgresql://u:p@h1:5432,h2:many/db")
    assert trouble()[0].startswith("AIGEN_DATABASE_URL is wrong: must look like")


@pytest.mark.parametrize(("value", "seconds"), [("2", 2), ("1m", 60)])
def test_the_timeout_of_the_database_is_a_duration(complete: pytest.MonkeyPatch, value: str, seconds: int) -> None:
    complete.setenv("AIGEN_DATABASE__TIMEOUT", value)
    assert load(Settings).database.timeout == timedelta(seconds=seconds)


@pytest.mark.parametrize("value", ["0", "10ms", "1h", "soon"])
def test_a_timeout_that_would_be_none_is_refused(complete: pytest.MonkeyPatch, value: str) -> None:
    complete.setenv("AIGEN_DATABASE__TIMEOUT", value)
    assert trouble()[0].startswith("AIGEN_DATABASE__TIMEOUT is wrong")


@pytest.mark.parametrize("name", sorted(COMPLETE))
def test_a_missing_setting_is_named_as_its_variable(complete: pytest.MonkeyPatch, name: str) -> None:
    complete.delenv(name)
    assert trouble() == [f"{name} is missing."]


@pytest.mark.parametrize("section", ["N8N", "ODOO"])
def test_a_missing_section_is_named_by_the_variables_that_it_needs(complete: pytest.MonkeyPatch, section: str) -> None:
    gone = [name for name in COMPLETE if name.startswith(f"AIGEN_{section}__")]
    for name in gone:
        complete.delenv(name)
    assert trouble() == [f"{name} is missing." for name in gone]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AIGEN_DATABASE_URL", "mysql://root:very-secret@localhost/x"),
        ("AIGEN_PUBLIC_URL", "ftp://very-secret"),
        ("AIGEN_N8N__WEBHOOK_URL", "very-secret"),
        ("AIGEN_ODOO__URL", "https://odoo.example.com/very-secret"),
        ("AIGEN_CALLBACK__DEADLINE", "very-secret"),
        ("AIGEN_CALLBACK__DEADLINE", "-5"),
        ("AIGEN_CALLBACK__DEADLINE", "366d"),
        ("AIGEN_CALLBACK__DEADLINE", "inf"),
        ("AIGEN_CALLBACK__DEADLINE", "9" * 400),
        ("AIGEN_CALLBACK__READ_TIMEOUT", "25h"),
        ("AIGEN_N8N__BREAKER__HOLD", "99999999d"),
        ("AIGEN_ODOO__TIMEOUT", "30d"),
        ("AIGEN_CLIENTS", '{"very-secret'),
        ("AIGEN_CLIENTS", '{"odoo": {"keys": [], "scopes": ["requests"]}}'),
        ("AIGEN_CLIENTS", '{"odoo": {"keys": ["very-secret"], "scopes": ["everything"]}}'),
        ("AIGEN_WORKER__LEASE", "10s"),
        ("AIGEN_RETENTION__IMAGES", "very-secret"),
        ("AIGEN_RETENTION__IMAGES", "0"),
        ("AIGEN_RETENTION__QUARANTINE", "1000000d"),
        ("AIGEN_N8N__TIMOUT", "10"),
    ],
)
def test_a_wrong_setting_is_named_and_its_value_is_not_shown(
    complete: pytest.MonkeyPatch, name: str, value: str
) -> None:
    complete.setenv(name, value)
    [line] = trouble()
    assert line.startswith(name)
    assert "very-secret" not in line


def test_secrets_may_come_from_files(complete: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    for name in ("AIGEN_N8N__API_KEY", "AIGEN_DATABASE_URL", "AIGEN_CLIENTS"):
        (folder / name.lower()).write_text(COMPLETE[name] + "\n")
        complete.delenv(name)
    complete.setenv("AIGEN_SECRETS_DIR", str(folder))

    settings = load(Settings)
    assert settings.n8n.api_key.get_secret_value() == "n8n-secret"
    assert settings.clients["odoo"].keys[0].get_secret_value() == "client-secret"


def test_things_are_kept_for_a_time_or_for_ever(complete: pytest.MonkeyPatch) -> None:
    complete.setenv("AIGEN_RETENTION__REQUESTS", "Forever")
    complete.setenv("AIGEN_RETENTION__IMAGES", "12h")
    kept = load(Settings).retention

    assert (kept.requests, kept.images, kept.quarantine) == (None, timedelta(hours=12), timedelta(days=30))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("600", 600), ("10m", 600), ("1.5h", 5400), ("250ms", 0.25), ("2 d", 172800), ("PT10M", 600), (30, 30)],
)
def test_durations_are_read_as_people_write_them(text: Any, seconds: float) -> None:
    assert TypeAdapter(Duration).validate_python(text) == timedelta(seconds=seconds)
