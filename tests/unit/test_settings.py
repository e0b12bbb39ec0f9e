"""Settings: typed, complete, and silent about secrets."""

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from aigen_bridge.api.auth import Keyring
from aigen_bridge.domain.signature import new_secret
from aigen_bridge.settings import Settings, WrongSettingsError, load
from aigen_bridge.settings.remarks import remarks, short_secrets
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


def test_files_of_other_programs_in_the_folder_are_not_read(complete: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They may be unreadable for the bridge, and their secrets are not its business."""
    complete.setenv("AIGEN_SECRETS_DIR", str(tmp_path))
    (tmp_path / "n8n_encryption_key").write_bytes(b"\xff")
    (tmp_path / "aigen_metrics__token").write_text("token")
    token = load(Settings).metrics.token
    assert token
    assert token.get_secret_value() == "token"


def test_all_secrets_sign_what_goes_to_n8n(complete: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two settings, because the one holds a single secret in a file, and both hold them while one is replaced."""
    old, new = new_secret(), new_secret()
    complete.setenv("AIGEN_SECRETS_DIR", str(tmp_path))
    (tmp_path / "AIGEN_N8N__SIGNING_SECRET").write_text(f"{old}\n")
    complete.setenv("AIGEN_N8N__SIGNING_SECRETS", json.dumps([new, old]))
    settings = load(Settings)

    assert [secret.get_secret_value() for secret in settings.n8n.all_signing_secrets] == [old, new]
    assert new not in settings.model_dump_json()


def test_a_short_signing_secret_is_remarked_without_being_shown(complete: pytest.MonkeyPatch) -> None:
    short = "whsec_YWJjZGVmZ2hpamtsbW5vcA=="
    n8n = {"keys": ["key-of-n8n"], "scopes": ["callbacks"], "signing_secrets": [short, new_secret()]}
    complete.setenv("AIGEN_CLIENTS", json.dumps({"n8n": n8n}))
    complete.setenv("AIGEN_N8N__SIGNING_SECRETS", json.dumps([new_secret(), short]))
    settings = load(Settings)
    found = short_secrets(settings.n8n, settings.clients)

    assert [line.partition(" has")[0] for line in found] == [
        "AIGEN_N8N__SIGNING_SECRET or …__SIGNING_SECRETS",
        "AIGEN_CLIENTS (client 'n8n')",
    ]
    assert short.removeprefix("whsec_") not in "".join(found)


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
    assert trouble()[0].startswith("AIGEN_DATABASE_URL is wrong: it must look like")


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
        ("AIGEN_IMAGE_STORE__URL", "very-secret"),
        ("AIGEN_IMAGE_STORE__URL", "s3://"),
        ("AIGEN_IMAGE_STORE__URL", "s3://id:very-secret@bucket"),
        ("AIGEN_IMAGE_STORE__URL", "s3://bucket?key=very-secret"),
        ("AIGEN_IMAGE_STORE__URL", "s3://bucket#very-secret"),
        ("AIGEN_IMAGE_STORE__URL", "file:very-secret"),
        ("AIGEN_IMAGE_STORE__URL", "file://very-secret/images"),
        ("AIGEN_IMAGE_STORE__URL", "file:///"),
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


@pytest.mark.parametrize("name", ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY"])
def test_a_key_of_the_image_store_is_whole(complete: pytest.MonkeyPatch, name: str) -> None:
    complete.setenv("AIGEN_IMAGE_STORE__URL", "s3://bucket")
    complete.setenv(f"AIGEN_IMAGE_STORE__{name}", "very-secret")
    [line] = trouble()
    assert line == "AIGEN_IMAGE_STORE is wrong: it needs both __ACCESS_KEY_ID and __SECRET_ACCESS_KEY, or neither."


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


NORTH = {"url": "https://north.example.com", "database": "north", "login": "bridge", "api_key": "north-secret"}


def test_another_odoo_may_be_given_as_one_value_in_variables_of_its_own_and_in_files(
    complete: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    complete.setenv("AIGEN_ODOOS", json.dumps({"north": {**NORTH, "api_key": "replaced-secret"}}))
    complete.setenv("AIGEN_ODOOS__NORTH__CONCURRENCY", "7")
    for name, value in NORTH.items():
        complete.setenv(f"AIGEN_ODOOS__SOUTH__{name.upper()}", value)
    for name in ("NORTH", "SOUTH"):
        (tmp_path / f"AIGEN_ODOOS__{name}__API_KEY").write_text("of-a-file-secret\n")
    complete.delenv("AIGEN_ODOOS__SOUTH__API_KEY")
    complete.setenv("AIGEN_SECRETS_DIR", str(tmp_path))

    settings = load(Settings)
    keys = {name: odoo.api_key.get_secret_value() for name, odoo in settings.all_odoos.items()}
    assert keys == {"default": "odoo-secret", "north": "replaced-secret", "south": "of-a-file-secret"}
    assert settings.odoos["north"].concurrency == 7
    assert "-secret" not in repr(settings) + settings.model_dump_json()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AIGEN_ODOOS__NORTH__APIKEY", "secret", "AIGEN_ODOOS.north.apikey is wrong: it is not known."),
        ("AIGEN_ODOOS__NORTH__BREAKER__HOLDS", "5", "AIGEN_ODOOS.north.breaker.holds is wrong: it is not known."),
        ("AIGEN_ODOOS__NORTH__TIMEOUT", "secret", "AIGEN_ODOOS.north.timeout is wrong: it must be a duration"),
        ("AIGEN_ODOOS__DEFAULT__LOGIN", "secret", "AIGEN_ODOOS.default.url is missing."),
    ],
)
def test_what_is_wrong_with_a_variable_of_another_odoo_is_said_in_words(
    complete: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    complete.setenv("AIGEN_ODOOS", json.dumps({"north": NORTH}))
    complete.setenv(name, value)
    lines = trouble()

    assert lines[0].startswith(said)
    assert "secret" not in "".join(lines)


@pytest.mark.parametrize("name", ["North", "", "nörd", "1st", "north_east", "north\n", "n" * 64])
def test_an_odoo_needs_a_name_that_queues_and_metrics_can_have(complete: pytest.MonkeyPatch, name: str) -> None:
    complete.setenv("AIGEN_ODOOS", json.dumps({name: NORTH}))
    [line] = trouble()

    assert line.startswith(f"AIGEN_ODOOS.{name} is wrong: it must be at most 63 lower-case letters")


@pytest.mark.parametrize(
    ("odoo", "said"),
    [
        ("south", "AIGEN_CLIENTS has client 'addon' for Odoo 'south', which is none of: default, north."),
        ("", "AIGEN_CLIENTS.addon.odoo is wrong: it must be at most 63 lower-case letters"),
    ],
)
def test_a_client_of_an_unknown_odoo_is_refused_by_its_name(complete: pytest.MonkeyPatch, odoo: str, said: str) -> None:
    complete.setenv("AIGEN_ODOOS", json.dumps({"north": NORTH}))
    addon = {"keys": ["client-secret"], "scopes": ["ops"], "odoo": odoo}
    complete.setenv("AIGEN_CLIENTS", json.dumps({"addon": addon}))
    [line] = trouble()

    assert line.startswith(said)


def test_the_default_odoo_is_not_given_a_second_time(complete: pytest.MonkeyPatch) -> None:
    complete.setenv("AIGEN_ODOOS", json.dumps({"default": NORTH}))
    assert trouble() == ["AIGEN_ODOOS must not contain 'default': its settings are AIGEN_ODOO__…."]


URLS = ("AIGEN_PUBLIC_URL", "AIGEN_N8N__WEBHOOK_URL", "AIGEN_ODOO__URL")


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (" https://h.example.com\n", "https://h.example.com"),
        ("\ufeffhttps://h.example.com\r\n", "https://h.example.com"),
        ("HTTPS://H.Example.COM.:8443/", "https://h.example.com:8443"),
        ("http://[2001:DB8::1]:8069", "http://[2001:db8::1]:8069"),
        ("http://my_service:5678//", "http://my_service:5678"),
        ("http://localhost", "http://localhost"),
    ],
)
def test_a_url_is_read_without_what_a_file_or_a_person_adds(
    complete: pytest.MonkeyPatch, value: str, read: str
) -> None:
    for name in URLS:
        complete.setenv(name, value)
    settings = load(Settings)
    assert {settings.public_url, settings.n8n.webhook_url, settings.odoo.url} == {read}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("https://secret.example.com/a b", "has a blank, a control character or a backslash"),
        ("https://secret.example\n.com", "has a blank, a control character or a backslash"),
        ("https://secret.example.com\\x", "has a blank, a control character or a backslash"),
        ("https://secret\u200b.example.com", "has a blank, a control character or a backslash"),
        ("https://sécret.example.com", "neither a name in ASCII (xn--… for others) nor an address"),
        ("secret.example.com", "must be an http:// or https:// address"),
        ("//secret.example.com", "must be an http:// or https:// address"),
        ("http:/secret.example.com", "must be an http:// or https:// address"),
        ("http:///secret", "must be an http:// or https:// address"),
        ("http://[secret", "must be an http:// or https:// address"),
        ("https://user:secret@example.com", "without user, query or fragment"),
        ("https://secret.example.com?", "without user, query or fragment"),
        ("https://secret.example.com#x", "without user, query or fragment"),
        ("https://secret.example.com:0", "a port that is not a number from 1 to 65535"),
        ("https://secret.example.com:99999", "a port that is not a number from 1 to 65535"),
        ("https://secret.example.com:", "a port that is not a number from 1 to 65535"),
        ("https://secret.example.com:80x", "a port that is not a number from 1 to 65535"),
        ("http://::1:8000", "IPv6 address without brackets; write it as http://[::1]:8000"),
        ("http://secret%2e.example.com", "neither a name in ASCII"),
        ("http://-secret.example.com", "neither a name in ASCII"),
        ("http://secret..example.com", "neither a name in ASCII"),
        (f"http://{64 * 'a'}.secret.example.com", "neither a name in ASCII"),
        (f"http://{127 * 'a.'}secret.example.com", "neither a name in ASCII"),
        ("http://256.1.1.1", "neither a name in ASCII"),
        ("http://10.0.0.7.8", "neither a name in ASCII"),
    ],
)
def test_a_url_that_every_call_would_fail_at_is_refused(complete: pytest.MonkeyPatch, value: str, said: str) -> None:
    for name in URLS:
        complete.setenv(name, value)
    lines = trouble()

    assert [line.partition(" is wrong: ")[0] for line in lines] == list(URLS)
    assert said in lines[-1]
    assert "secret" not in "".join(lines)


@pytest.mark.parametrize(
    ("value", "hosts"),
    [
        ('["fal.media"]', ("fal.media",)),
        ("fal.media, V3.Fal.Media.", ("fal.media", "v3.fal.media")),
        ('["*.fal.media"]', ("*.fal.media",)),
        (".fal.media", ("fal.media", "*.fal.media")),
        ('["*"]', ()),
        ("10.0.0.7 [2001:DB8::1] 2001:db8:0::2", ("10.0.0.7", "2001:db8::1", "2001:db8::2")),
        ("xn--bcher-kva.example", ("xn--bcher-kva.example",)),
        ("[]", ()),
    ],
)
def test_image_hosts_are_named_in_every_clear_way(
    complete: pytest.MonkeyPatch, value: str, hosts: tuple[str, ...]
) -> None:
    complete.setenv("AIGEN_IMAGE_URLS__ALLOWED_HOSTS", value)
    assert load(Settings).image_urls.allowed_hosts == hosts


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("https://fal.media", "must be the host alone: fal.media"),
        ("https://user:secret@fal.media/x", "must be the host alone: fal.media"),
        ("fal.media:443", "must be the host alone: fal.media"),
        ("fal.media/files", "must be the host alone: fal.media"),
        ("*fal.media", "with * only at its beginning, as in *.example.com"),
        ("fal.*", "with * only at its beginning"),
        ("*.*.media", "with * only at its beginning"),
        ("10.0.0.0/8", "networks stand in AIGEN_IMAGE_URLS__TRUSTED_NETWORKS"),
        ("bücher.example", "must be a host in ASCII, as it is in URLs: xn--…"),
        ('["fal media"]', "must be a host, such as fal.media or *.fal.media"),
        ('[""]', "must be a host"),
        ("127.1", "must be a host"),
        ('["fal.media",]', "is not valid JSON at line 1, column 14"),
        ('"fal.media"', "must be a list"),
        ("[5]", "must be a string"),
    ],
)
def test_an_image_host_that_matches_nothing_is_refused(complete: pytest.MonkeyPatch, value: str, said: str) -> None:
    complete.setenv("AIGEN_IMAGE_URLS__ALLOWED_HOSTS", value)
    [line] = trouble()

    assert line.startswith("AIGEN_IMAGE_URLS__ALLOWED_HOSTS")
    assert said in line
    assert "secret" not in line


@pytest.mark.parametrize("value", ["127.0.0.0/8,10.0.0.7", '["127.0.0.0/8", "10.0.0.7/32"]'])
def test_networks_are_a_list(complete: pytest.MonkeyPatch, value: str) -> None:
    complete.setenv("AIGEN_IMAGE_URLS__TRUSTED_NETWORKS", value)
    assert [str(network) for network in load(Settings).image_urls.trusted_networks] == ["127.0.0.0/8", "10.0.0.7/32"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AIGEN_IMAGE_URLS__TRUSTED_NETWORKS", "10.0.0.1/8", "must be a network, such as 10.0.0.0/8"),
        ("AIGEN_CALLBACK__RATE_LIMIT", "0/second", "must be one limit of at least 1, such as 100/second"),
        ("AIGEN_CALLBACK__RATE_LIMIT", "5/minute;1/second", "must be one limit"),
        ("AIGEN_CALLBACK__RATE_LIMIT", "many", "must be one limit"),
        ("AIGEN_GENERATION__SILENCE", "2h", "must be less than or equal to 1 hour"),
        ("AIGEN_GENERATION__RESUMES", "21", "must be less than or equal to 20"),
        ("AIGEN_GENERATION__WHEN_MAYBE_PAID", "perhaps", "must be 'again' or 'stop'"),
        ("AIGEN_DEPRECATED", '{"v3": {"since": "2026-01-01"}}', "must be 'v1' or 'v2'"),
        ("AIGEN_METRICS__TOKEN", "sha256:" + "0" * 64, "must be the key itself; only AIGEN_CLIENTS takes hashes"),
        ("AIGEN_TLS__CERTIFICATE", "/nowhere", "must be the path of an existing file"),
        ("AIGEN_ODOO__API_KEY", "two\nlines", "has a control character in it"),
        ("AIGEN_ALERTS__URLS", '["json://h/\\n"]', "has a control character in it"),
        ("AIGEN_N8N__SIGNING_SECRET", "secret", "must be another: a signing secret begins with whsec_"),
        ("AIGEN_N8N__SIGNING_SECRETS", '["secret"]', "must be another: a signing secret begins with whsec_"),
        ("AIGEN_N8N__SIGNING_SECRETS", "whsec_x", "must be another"),
        ("AIGEN_N8N__SIGNING_SECRET", "whsec_%%%%", "must be another: a signing secret is whsec_ and base64"),
        ("AIGEN_MARKING", '{"mode": "c2pa"}', "mode c2pa needs certificate and key"),
        ("AIGEN_MARKING__TIMESTAMP_URL", "ldap://timestamps.example", "must be an http:// or https:// address"),
        ("AIGEN_MARKING__TIMESTAMP_URL", "http://me:secret@timestamps.example", "without user, query or fragment"),
        ("AIGEN_LOG__LEVEL", "info", "must be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ("AIGEN_METRICS__ENABLED", "maybe", "must be true or false"),
        ("AIGEN_CLIENTS", '{"odoo": {"keys": ["secret-1"],}}', "column 32: expecting property name"),
        ("AIGEN_CLIENTS", '{"odoo": {"keys": ["secret-1"],}}', "(a comma too many?)"),
        ("AIGEN_CLIENTS", '{"odoo": {}, "odoo": {}}', "has the name 'odoo' twice in one object"),
        ("AIGEN_CLIENTS", '["odoo"]', "must be an object"),
        ("AIGEN_CLIENTS", '{"odoo": 5}', "must be an object"),
        ("AIGEN_ODOOS", '{"north": {"api_key": "secret"},}', "(a comma too many?)"),
        ("AIGEN_ODOOS", '{"north": {}, "north": {}}', "has the name 'north' twice in one object"),
        ("AIGEN_ODOOS", '{"north": "secret"}', ".north is wrong: it must be an object"),
    ],
)
def test_what_is_wrong_is_said_in_words(complete: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    complete.setenv(name, value)
    [line] = trouble()

    assert line.startswith(f"{name}")
    assert said in line


def test_a_lease_outlasts_the_timestamp_of_a_signature(complete: pytest.MonkeyPatch) -> None:
    complete.setenv("AIGEN_MARKING__TIMEOUT", "2m")
    load(Settings)
    complete.setenv("AIGEN_MARKING__TIMESTAMP_URL", "http://timestamps.example")
    assert trouble() == ["AIGEN_WORKER__LEASE must be longer than every call may take, which is 120.0 s."]


def keys(**clients: list[str]) -> str:
    return json.dumps({name: {"keys": given, "scopes": ["requests"]} for name, given in clients.items()})


HASH = hashlib.sha256(b"key-of-a-client").hexdigest()


@pytest.mark.parametrize(
    ("clients", "said"),
    [
        (keys(odoo=["key-of-a-client"], n8n=["key-of-a-client"]), "gives one key to 'odoo' and 'n8n'"),
        (keys(odoo=["key-of-a-client"], n8n=[f"SHA256:{HASH.upper()}"]), "gives one key to 'odoo' and 'n8n'"),
        (keys(odoo=["key-of-a-client", f"sha256:{HASH}"]), "gives client 'odoo' the same key twice"),
        (keys(odoo=["sha256:abc"]), "AIGEN_CLIENTS.odoo.keys.0 is wrong: it must have sha256: and 64 hex digits"),
        (keys(odoo=[f"sha256: {HASH}"]), "without blanks"),
        (keys(odoo=[f"sha-256:{HASH}"]), "must have sha256: and 64 hex digits"),
        (keys(odoo=[f"sha512:{HASH}"]), "must have sha256: and 64 hex digits"),
        (keys(odoo=["key-of-a-client", "odo"]), "AIGEN_CLIENTS.odoo.keys.1 is wrong: it must have at least 4"),
        (keys(odoo=["key-of-a-client "]), "must be printable ASCII without blanks"),
        (keys(odoo=["…"]), "must be printable ASCII"),
        (keys(odoo=["key-of-a-client"] * 3), "AIGEN_CLIENTS.odoo.keys is wrong: it must have at most 2 items, not 3"),
    ],
)
def test_keys_that_cannot_be_meant_are_refused_with_their_client(
    complete: pytest.MonkeyPatch, clients: str, said: str
) -> None:
    complete.setenv("AIGEN_CLIENTS", clients)
    [line] = trouble()

    assert said in line
    assert "key-of" not in line
    assert HASH not in line.lower()


def test_a_hash_in_capitals_is_one(complete: pytest.MonkeyPatch) -> None:
    complete.setenv("AIGEN_CLIENTS", keys(odoo=[f"Sha256:{HASH.upper()}"]))
    found = Keyring(load(Settings).clients).find("key-of-a-client")
    assert found is not None
    assert found.name == "odoo"


@pytest.mark.parametrize("name", ["AIGEN_N8N__API_KEY", "AIGEN_ODOO__API_KEY", "AIGEN_METRICS__TOKEN"])
def test_a_secret_may_end_with_a_new_line(complete: pytest.MonkeyPatch, name: str) -> None:
    complete.setenv(name, " the-secret\n")
    settings = load(Settings)
    found = {settings.n8n.api_key, settings.odoo.api_key, settings.metrics.token}
    assert "the-secret" in {secret.get_secret_value() for secret in found if secret}


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


def test_an_env_file_is_read_as_editors_and_shells_write_it(complete: pytest.MonkeyPatch, tmp_path: Path) -> None:
    complete.delenv("AIGEN_ODOO__LOGIN")
    complete.delenv("AIGEN_ODOO__DATABASE")
    complete.delenv("AIGEN_PUBLIC_URL")
    lines = (
        'AIGEN_PUBLIC_URL="https://x.example.com"',
        "export AIGEN_ODOO__LOGIN='the bot'",
        "AIGEN_ODOO__DATABASE=odoo # ours",
    )
    (tmp_path / ".env").write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    settings = load(Settings)

    assert (settings.public_url, settings.odoo.login, settings.odoo.database) == (
        "https://x.example.com",
        "the bot",
        "odoo",
    )
    assert remarks(Settings) == []


def test_what_is_no_setting_is_remarked_and_does_not_stop_the_start(
    complete: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    complete.setenv("AIGEN_PUBLIC_ULR", "x")
    complete.setenv("AIGEN_WHATEVER", "x")
    (tmp_path / ".env").write_text("AIGEN_ODOO_URL=x\nAIGEN_LOG__LEVEL=INFO\nwhat is this\nAIGEN_LOG__LEVEL=DEBUG\n")

    assert load(Settings).log.level == "DEBUG"
    assert remarks(Settings) == [
        "AIGEN_PUBLIC_ULR is not a setting; did you mean AIGEN_PUBLIC_URL?",
        "AIGEN_WHATEVER is not a setting.",
        "AIGEN_ODOO_URL is not a setting; did you mean AIGEN_ODOO__URL?",
        "Line 3 of .env cannot be read and is ignored.",
        "AIGEN_LOG__LEVEL is in .env more than once; the last one counts.",
    ]
    complete.delenv("AIGEN_PUBLIC_URL")
    assert trouble()[:2] == ["AIGEN_PUBLIC_URL is missing.", remarks(Settings)[0]]


@pytest.mark.parametrize("url", ["traces/{traceId}", "javascript:alert('{traceId}')", "https://traces.example/"])
def test_the_address_of_traces_is_a_web_address_with_a_place_for_the_id(complete: pytest.MonkeyPatch, url: str) -> None:
    complete.setenv("AIGEN_CONSOLE__TRACE_URL", url)
    with pytest.raises(WrongSettingsError, match=r"AIGEN_CONSOLE__TRACE_URL"):
        load(Settings)
