"""Settings of sign-in by OpenID Connect: complete or off, and never lax by accident."""

import json
from pathlib import Path

import pytest

from aigen_bridge.settings import Settings, WrongSettingsError, fingerprints, load
from aigen_bridge.settings.replace import with_new_secrets

OIDC = {
    "ISSUER": "https://id.example.com/application/o/bridge/",
    "CLIENT_ID": "aigen-bridge",
    "CLIENT_SECRET": "provider-secret",
    "OPERATORS": "Bridge Operators, admins",
}


@pytest.fixture(autouse=True)
def complete(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {
        "DATABASE_URL": "postgresql://bridge@localhost/bridge",
        "PUBLIC_URL": "https://bridge.example.com",
        "N8N__WEBHOOK_URL": "https://n8n.example.com/webhook/aigen/v1/generate",
        "N8N__API_KEY": "n8n-secret",
        "ODOO__URL": "https://odoo.example.com",
        "ODOO__DATABASE": "odoo",
        "ODOO__LOGIN": "bridge",
        "ODOO__API_KEY": "odoo-secret",
        "CLIENTS": json.dumps({"odoo": {"keys": ["client-secret"], "scopes": ["requests"]}}),
        **{f"CONSOLE__OIDC_{name}": value for name, value in OIDC.items()},
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"AIGEN_{name}", value)


def trouble() -> list[str]:
    with pytest.raises(WrongSettingsError) as caught:
        load(Settings)
    return caught.value.lines


def test_the_issuer_stays_as_it_is_because_id_tokens_must_name_it_so() -> None:
    assert load(Settings).console.oidc_issuer == "https://id.example.com/application/o/bridge/"


def test_groups_are_separated_by_commas_because_their_names_may_have_blanks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody in a group "Operators" must not become an operator because of "Bridge Operators"."""
    assert load(Settings).console.oidc_operators == ("Bridge Operators", "admins")
    monkeypatch.setenv("AIGEN_CONSOLE__OIDC_VIEWERS", '["CN=staff,OU=groups", "all"]')
    assert load(Settings).console.oidc_viewers == ("CN=staff,OU=groups", "all")


@pytest.mark.parametrize("name", OIDC)
def test_each_setting_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(f"AIGEN_CONSOLE__OIDC_{name}")
    [line] = trouble()
    assert line.startswith(f"AIGEN_CONSOLE is wrong: sign-in by OpenID Connect also needs AIGEN_CONSOLE__OIDC_{name}")


def test_viewers_alone_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIGEN_CONSOLE__OIDC_OPERATORS")
    monkeypatch.setenv("AIGEN_CONSOLE__OIDC_VIEWERS", "staff")
    assert load(Settings).console.oidc_viewers == ("staff",)


def test_without_any_of_them_there_is_no_openid_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OIDC:
        monkeypatch.delenv(f"AIGEN_CONSOLE__OIDC_{name}")
    assert load(Settings).console.oidc_issuer is None


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("ISSUER", "http://id.example.com", "must be an https:// address"),
        ("ISSUER", "id.example.com", "must be an http:// or https:// address"),
        ("ISSUER", "https://id.example.com/?tenant=1", "without user, query or fragment"),
        ("SCOPES", "email profile", "must contain openid"),
        ("SCOPES", 'openid "quoted"', "AIGEN_CONSOLE__OIDC_SCOPES"),
        ("OPERATORS", "[", "is not valid JSON"),
        ("OPERATORS", '[""]', "AIGEN_CONSOLE__OIDC_OPERATORS"),
        ("CLIENT_SECRET", "two\nlines", "control character"),
    ],
)
def test_a_wrong_value_stops_the_start(monkeypatch: pytest.MonkeyPatch, name: str, value: str, what: str) -> None:
    monkeypatch.setenv(f"AIGEN_CONSOLE__OIDC_{name}", value)
    [line] = trouble()
    assert what in line
    assert line.startswith(f"AIGEN_CONSOLE__OIDC_{name}")
    assert "provider-secret" not in line


@pytest.mark.parametrize("host", ["127.0.0.1:9000", "[::1]", "localhost:9000"])
def test_a_provider_on_this_machine_may_do_without_tls(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("AIGEN_CONSOLE__OIDC_ISSUER", f"http://{host}/realms/bridge")
    assert load(Settings).console.oidc_issuer == f"http://{host}/realms/bridge"


def test_the_console_is_at_the_public_address_unless_it_has_another(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(Settings).console_url == "https://bridge.example.com"
    monkeypatch.setenv("AIGEN_CONSOLE__URL", "https://console.example.com/")
    assert load(Settings).console_url == "https://console.example.com"


def test_the_secret_comes_from_a_file_and_can_be_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AIGEN_CONSOLE__OIDC_CLIENT_SECRET")
    monkeypatch.setenv("AIGEN_SECRETS_DIR", str(tmp_path))
    file = tmp_path / "AIGEN_CONSOLE__OIDC_CLIENT_SECRET"
    file.write_text("first\n")
    before = load(Settings)
    file.write_text("second\n")
    after, waiting = with_new_secrets(before, load(Settings))
    assert waiting == []
    assert after.console.oidc_client_secret is not None
    assert after.console.oidc_client_secret.get_secret_value() == "second"
    assert fingerprints.of_console(before) != fingerprints.of_console(after)
    assert "first" not in f"{before!r}{before.model_dump_json()}"


def test_the_secret_of_another_provider_waits_for_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    before = load(Settings)
    monkeypatch.setenv("AIGEN_CONSOLE__OIDC_ISSUER", "https://other.example.com")
    monkeypatch.setenv("AIGEN_CONSOLE__OIDC_CLIENT_SECRET", "another")
    after, waiting = with_new_secrets(before, load(Settings))
    assert after.console == before.console
    assert waiting == ["AIGEN_CONSOLE"]
