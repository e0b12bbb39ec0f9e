"""New secrets, part by part: what is taken, what is refused, and what goes on with the ones before."""

import asyncio
import json
import os
import shutil
import ssl
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import trustme

from aigen_bridge.clients import odoo_errors, odoo_login
from aigen_bridge.clients.n8n import N8nWebhook
from aigen_bridge.clients.odoo import OdooClient
from aigen_bridge.clients.odoo_jsonrpc import OdooJsonRpc
from aigen_bridge.clients.renewed import RenewedOdoo, RenewedWebhook
from aigen_bridge.domain.errors import PermanentError, StepError
from aigen_bridge.domain.signature import new_secret, secret_bytes
from aigen_bridge.settings import Settings, fingerprints, load, rotation
from aigen_bridge.settings.report import folder, reporting, reports
from aigen_bridge.settings.rotation import Part, Rotation, State
from aigen_bridge.sim.chain import Chain, simulators
from stage import CLIENTS, KEYS, UNREACHABLE


class Watched:
    """A rotation whose secrets are files in a folder, and the values that its only part received."""

    def __init__(self, folder: Path, of: Callable[[Settings], Any]) -> None:
        self.folder = folder
        self.used: list[Any] = []
        self.rotation = Rotation(load(Settings), partial(load, Settings))
        self.fails_with: Exception | None = None
        self._of = of

    def watch(self, part: Callable[[Settings], Any]) -> None:
        self.rotation.add(Part(part, self._use))

    async def _use(self, settings: Settings) -> None:
        if self.fails_with:
            raise self.fails_with
        self.used.append(self._of(settings))

    @property
    def problems(self) -> str:
        return " ".join(self.rotation.state.problems)


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Complete settings, each in a file of its own."""
    for name in ("SETTLED", "EVERY", "RETRY_FIRST", "RETRY_MAX"):
        monkeypatch.setattr(rotation, name, 0.01)
    path = tmp_path / "secrets"
    path.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIGEN_SECRETS_DIR", str(path))
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    values = {
        "AIGEN_DATABASE_URL": "postgresql://bridge:old@db.test/aigen",
        "AIGEN_PUBLIC_URL": "https://bridge.test",
        "AIGEN_CLIENTS": json.dumps(CLIENTS),
        "AIGEN_N8N": json.dumps(UNREACHABLE["n8n"]),
        "AIGEN_ODOO": json.dumps(UNREACHABLE["odoo"]),
        "AIGEN_METRICS__TOKEN": "old-token",
    }
    for name, value in values.items():
        (path / name).write_text(value)
    return path


def watched(secrets: Path, part: Callable[[Settings], Any], of: Callable[[Settings], Any]) -> Watched:
    found = Watched(secrets, of)
    found.watch(part)
    return found


@pytest.fixture
def clients(secrets: Path) -> Watched:
    return watched(secrets, fingerprints.of_clients, lambda settings: list(settings.clients))


async def test_a_new_client_is_known_and_an_unchanged_file_changes_nothing(clients: Watched) -> None:
    await clients.rotation._look()
    (clients.folder / "AIGEN_CLIENTS").write_text(json.dumps({"odoo": CLIENTS["odoo"]}))
    for _ in range(3):
        await clients.rotation._look()

    assert clients.used == [["odoo"]]
    assert list(clients.rotation.state.secrets) == ["client odoo (requests): key 1"]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("AIGEN_CLIENTS", json.dumps(CLIENTS)[:-3], "AIGEN_CLIENTS is wrong: it is not valid JSON"),
        ("AIGEN_CLIENTS", "", "AIGEN_CLIENTS"),
        (
            "AIGEN_CLIENTS",
            json.dumps(CLIENTS | {"north": CLIENTS["odoo"] | {"keys": ["k123"], "odoo": "north"}}),
            "north",
        ),
        ("AIGEN_METRICS__TOKEN", "", "AIGEN_METRICS__TOKEN is wrong"),
        ("AIGEN_METRICS__TOKEN", None, "AIGEN_METRICS__TOKEN is missing now"),
        ("AIGEN_METRICS__TOKEN", "two words", "AIGEN_METRICS__TOKEN is wrong"),
        ("AIGEN_DATABASE_URL", "postgresql://[", "AIGEN_DATABASE_URL is wrong"),
    ],
)
async def test_a_wrong_value_changes_nothing_and_is_shown(
    clients: Watched, name: str, content: str | None, problem: str
) -> None:
    before = clients.rotation.settings
    good = (clients.folder / name).read_text()
    if content is None:
        (clients.folder / name).unlink()
    else:
        (clients.folder / name).write_text(content)
    await clients.rotation._look()
    assert problem in clients.problems
    assert clients.rotation.settings is before
    assert clients.used == []

    (clients.folder / name).write_text(good)
    await clients.rotation._look()
    assert clients.problems == ""


async def test_a_file_that_cannot_be_read_changes_nothing_and_is_shown(
    clients: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_text(path: Path, **_: object) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as unreadable:
        unreadable.setattr(Path, "read_text", read_text)
        await clients.rotation._look()
    assert clients.problems.startswith("A secret file cannot be read: [Errno 13] Permission denied: ")
    assert clients.used == []


async def test_a_file_is_read_only_when_it_has_stopped_changing(
    clients: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    await clients.rotation._look()
    monkeypatch.setattr(rotation, "SETTLED", 0.1)
    path = clients.folder / "AIGEN_CLIENTS"
    path.write_text(json.dumps({"odoo": CLIENTS["odoo"]}))  # valid, but more is to come
    looking = asyncio.create_task(clients.rotation.check())
    await asyncio.sleep(0.05)
    path.write_text(json.dumps(CLIENTS | {"more": {"keys": ["key-of-more"], "scopes": ["ops"]}}))
    await looking

    assert clients.used == [["odoo", "n8n", "ops", "more"]]


async def test_callers_with_new_keys_wait_until_they_are_used_also_if_the_first_one_leaves(clients: Watched) -> None:
    begun, may_end, used = asyncio.Event(), asyncio.Event(), []

    async def use(settings: Settings) -> None:
        begun.set()
        await may_end.wait()
        used.append(list(settings.clients))

    clients.rotation.add(Part(fingerprints.of_clients, use))
    await clients.rotation._look()
    (clients.folder / "AIGEN_CLIENTS").write_text(json.dumps({"odoo": CLIENTS["odoo"]}))
    first = asyncio.create_task(clients.rotation.check())
    await begun.wait()
    first.cancel()
    second = asyncio.create_task(clients.rotation.check())
    await asyncio.sleep(0)
    may_end.set()
    await second
    assert used == [["odoo"]]


async def test_a_key_that_is_newer_than_the_start_is_known_before_the_first_look(clients: Watched) -> None:
    (clients.folder / "AIGEN_CLIENTS").write_text(json.dumps({"odoo": CLIENTS["odoo"]}))
    await clients.rotation.check()
    assert clients.used == [["odoo"]]


async def test_neither_a_bug_nor_a_full_disk_ends_the_watching(clients: Watched) -> None:
    looks = 0

    def on_full_disk(_state: State) -> None:
        nonlocal looks
        looks += 1
        raise OSError("No space left on device")

    clients.fails_with = KeyError("a bug")
    (clients.folder / "AIGEN_CLIENTS").write_text(json.dumps({"odoo": CLIENTS["odoo"]}))
    watching = asyncio.create_task(clients.rotation.watch(on_full_disk))
    async with asyncio.timeout(20):
        while looks < 3:
            await asyncio.sleep(0.01)
        clients.fails_with = None
        (clients.folder / "AIGEN_CLIENTS").write_text(json.dumps({"ops": CLIENTS["ops"]}))
        while not clients.used:
            await asyncio.sleep(0.01)
    watching.cancel()
    assert clients.used == [["ops"]]


async def test_what_a_part_refuses_is_tried_again(clients: Watched) -> None:
    clients.fails_with = PermanentError("x", "Not now.")
    (clients.folder / "AIGEN_CLIENTS").write_text(json.dumps({"odoo": CLIENTS["odoo"]}))
    await clients.rotation._look()
    assert clients.problems == "Not now. (client n8n (callbacks): key 1, client ops (ops): key 1)"
    assert len(clients.rotation.state.secrets) == len(CLIENTS)

    clients.fails_with = None
    await asyncio.sleep(0.02)
    await clients.rotation._look()
    assert (clients.problems, clients.used) == ("", [["odoo"]])


def test_a_key_that_odoo_refuses_is_tried_as_rarely_as_by_calls() -> None:
    """Otherwise a wrong key in a file would lock the bridge's address out of Odoo."""
    paces = rotation.RETRY_FIRST, rotation.RETRY_MAX
    assert paces == (odoo_errors.COOLDOWN.total_seconds(), odoo_login.PAUSE_MAX.total_seconds())


async def test_only_secrets_are_taken_and_the_rest_is_named(secrets: Path) -> None:
    observed = watched(secrets, fingerprints.of_database, lambda settings: settings.database_url.get_secret_value())
    (secrets / "AIGEN_DATABASE_URL").write_text("postgresql://bridge:new@db.test/aigen")
    (secrets / "AIGEN_REQUESTS__RATE_LIMIT").write_text("7/second")
    await observed.rotation._look()
    assert observed.used == ["postgresql+psycopg://bridge:new@db.test/aigen"]
    assert observed.rotation.settings.requests.rate_limit != "7/second"
    assert observed.rotation.state.waiting == ["AIGEN_REQUESTS"]


@pytest.mark.parametrize(
    ("name", "of", "waiting"),
    [
        ("AIGEN_DATABASE_URL", fingerprints.of_database, "AIGEN_DATABASE_URL"),
        ("AIGEN_DATABASE__LISTEN_URL", fingerprints.of_listener, "AIGEN_DATABASE"),
    ],
)
async def test_a_new_password_is_taken_and_another_database_waits_for_a_restart(
    secrets: Path, name: str, of: Callable[[Settings], Any], waiting: str
) -> None:
    (secrets / name).write_text("postgresql://bridge:old@db.test/aigen")
    observed = watched(secrets, of, of)
    (secrets / name).write_text("postgresql://bridge:new@db.test/aigen")
    await observed.rotation._look()
    assert len(observed.used) == 1

    (secrets / name).write_text("postgresql://bridge:newer@other.test/aigen")
    await observed.rotation._look()
    assert len(observed.used) == 1
    assert observed.rotation.state.waiting == [waiting]


@pytest.mark.parametrize(
    ("name", "moved"),
    [
        ("n8n", {"webhook_url": "http://elsewhere.test/webhook"}),
        ("odoo", {"url": "http://elsewhere.test"}),
        ("odoo", {"database": "another"}),
        ("odoo", {"login": "another"}),
    ],
)
async def test_a_key_that_comes_with_another_address_is_not_sent_to_the_one_before(
    secrets: Path, name: str, moved: dict[str, str]
) -> None:
    """It waits for a restart together with the address."""
    of = fingerprints.of_n8n if name == "n8n" else partial(fingerprints.of_odoo, "default")
    observed = watched(secrets, of, of)
    file = secrets / f"AIGEN_{name.upper()}"
    file.write_text(json.dumps(UNREACHABLE[name] | moved | {"api_key": "key-of-elsewhere"}))
    await observed.rotation._look()
    assert observed.used == []
    assert observed.rotation.state.waiting == [file.name]


async def test_a_listener_that_gets_a_url_of_its_own_waits_for_a_restart(secrets: Path) -> None:
    observed = watched(secrets, fingerprints.of_listener, lambda settings: settings.database)
    (secrets / "AIGEN_DATABASE__LISTEN_URL").write_text("postgresql://bridge:old@db.test/aigen")
    await observed.rotation._look()
    assert observed.used == []
    assert observed.rotation.state.waiting == ["AIGEN_DATABASE"]


async def test_a_new_client_reports_on_its_own_odoo_only(clients: Watched) -> None:
    """Also when its callback is replayed."""
    from aigen_bridge.wiring import _reports_on  # noqa: PLC0415

    newcomer = {"keys": ["key-of-newcomer"], "scopes": ["callbacks"], "odoo": "default"}
    (clients.folder / "AIGEN_CLIENTS").write_text(json.dumps(CLIENTS | {"newcomer": newcomer}))
    await clients.rotation._look()
    assert [_reports_on(clients.rotation, name) for name in ("newcomer", "n8n", "unknown")] == ["default", None, None]


# ---- what was there before goes on until the new is accepted


def webhook(chain: Chain, key: str, *signing_secrets: str) -> N8nWebhook:
    keys = [secret_bytes(secret) for secret in signing_secrets]
    return N8nWebhook(chain.bridge["n8n"]["webhook_url"], key, timeout=5, concurrency=10, signing_keys=keys)


async def send(n8n: RenewedWebhook) -> None:
    event = {"requestId": str(uuid4()), "callbackUrl": "http://127.0.0.1:9/"}
    await n8n.send(event, correlation_id=uuid4(), message_id=str(uuid4()))


async def test_n8n_gets_the_secrets_before_until_it_accepts_the_new_ones() -> None:
    old, new = new_secret(), new_secret()
    async with simulators(callback_key="k", webhook_signing_secret=old) as chain:
        key = chain.n8n.settings.key
        n8n = RenewedWebhook(webhook(chain, key, old))
        await n8n.renew(webhook(chain, "typo", new))
        await n8n.renew(webhook(chain, "new-key", new))
        await asyncio.gather(*(send(n8n) for _ in range(5)))

        object.__setattr__(chain.n8n.settings, "key", "new-key")
        object.__setattr__(chain.n8n.settings, "webhook_signing_secret", new)
        await asyncio.gather(*(send(n8n) for _ in range(5)))
        object.__setattr__(chain.n8n.settings, "key", key)
        with pytest.raises(StepError):  # the old ones are forgotten
            await send(n8n)
        await n8n.close()


async def test_n8n_may_change_its_secrets_between_two_calls() -> None:
    async with simulators(callback_key="k") as chain:
        n8n = RenewedWebhook(webhook(chain, chain.n8n.settings.key))
        await n8n.renew(webhook(chain, "new-key"))
        refusals = iter([False, False, True])
        chain.n8n._is_key = lambda key: next(refusals) and key == "new-key"  # type: ignore[method-assign]
        await send(n8n)
        await n8n.close()


async def test_odoo_is_called_with_the_key_before_when_it_refuses_the_new_one() -> None:
    async with simulators(callback_key="k") as chain:
        odoo = RenewedOdoo(client(chain, chain.odoo.settings.api_key))
        with pytest.raises(PermanentError, match="refused the login"):
            await odoo.renew(client(chain, "another-key"))
        await odoo.apply_result(RESULT)

        known = {chain.odoo.settings.api_key, "new-key"}
        chain.odoo._is_key = known.__contains__  # type: ignore[method-assign]
        await odoo.renew(client(chain, "new-key"))
        known.remove(chain.odoo.settings.api_key)
        await odoo.apply_result(RESULT)
        await odoo.close()


RESULT = {"requestId": "a3d6a1f0-6d0f-4c50-9d9b-0a4b8f4f8f10", "version": 1, "status": "failed", "errorCode": "x"}


def client(chain: Chain, key: str) -> OdooClient:
    odoo = chain.bridge["odoo"] | {"api_key": key}
    return OdooClient(OdooJsonRpc(**odoo, timeout=5, concurrency=2))


async def test_a_call_that_runs_while_secrets_change_ends_well() -> None:
    async with simulators(callback_key="k", ack_seconds=0.2) as chain:
        key = chain.n8n.settings.key
        n8n = RenewedWebhook(webhook(chain, key))
        running = asyncio.create_task(send(n8n))
        await asyncio.sleep(0.1)
        await n8n.renew(webhook(chain, key))
        await send(n8n)  # accepted, so the first one is closed when it is idle
        await running
        await n8n.close()


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
async def test_outbound_calls_trust_a_new_authority(
    secrets: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """Of the same name, in the same file."""
    from aigen_bridge.wiring import _renewed_n8n  # noqa: PLC0415

    first, second = (trustme.CA(organization_name="Authority", organization_unit_name="of N8N") for _ in range(2))
    trusted = secrets.parent / "trusted"
    trusted.mkdir()
    bundle = trusted / f"{_subject_hash(first)}.0"
    first.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv(variable, str(bundle if variable == "SSL_CERT_FILE" else trusted))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    second.issue_cert("127.0.0.1").configure_cert(context)
    server = await asyncio.start_server(_acknowledge, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/webhook"
    (secrets / "AIGEN_N8N").write_text(json.dumps({"webhook_url": url, "api_key": "key"}))
    rotation = Rotation(load(Settings), partial(load, Settings))
    n8n = _renewed_n8n(rotation)
    async with server:
        with pytest.raises(StepError, match="certificate"):
            await send(n8n)
        second.cert_pem.write_to_path(str(bundle))
        await rotation._look()
        await send(n8n)
    await n8n.close()


def _subject_hash(authority: trustme.CA) -> str:
    """Returns the name by which OpenSSL looks for a certificate in a folder."""
    if not (openssl := shutil.which("openssl")):
        pytest.skip("openssl is not installed")
    command = [openssl, "x509", "-noout", "-subject_hash"]
    return subprocess.run(command, input=authority.cert_pem.bytes(), capture_output=True, check=True).stdout.decode()[
        :8
    ]


async def _acknowledge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    await writer.drain()
    writer.close()


# ---- what is shown


async def test_the_report_has_fingerprints_and_ends_with_its_process(secrets: Path) -> None:
    observed = watched(secrets, fingerprints.of_clients, lambda _: None)
    with reporting("worker") as reporter:
        assert reporter
        reporter.write(observed.rotation.state)
        [report] = reports()
        assert (report.process, report.pid) == ("worker", os.getpid())
        assert len(report.secrets) == len(CLIENTS)
        text = next(folder().iterdir()).read_text()
        assert not any(key in text for key in KEYS.values())
    assert reports() == []


async def test_the_report_of_a_killed_process_is_deleted_and_a_new_one_is_left_alone(secrets: Path) -> None:
    folder().mkdir()
    (folder() / "api-1.json").write_text("{}")
    (folder() / "api-2.json").touch()
    assert reports() == []
    assert [path.name for path in folder().iterdir()] == ["api-2.json"]


@pytest.mark.parametrize("foreign", [Path.symlink_to, lambda path, _: path.mkdir() or path.chmod(0o777)])
async def test_a_folder_that_others_can_change_is_neither_used_nor_cleaned_up(
    secrets: Path, foreign: Callable[[Path, Path], None]
) -> None:
    other = secrets.parent / "other"
    other.mkdir()
    foreign(folder(), other)
    (folder() / "precious.json").write_text("{}")
    with reporting("api") as reporter:
        assert reporter is None
    with pytest.raises(PermissionError, match="can be changed by others"):
        reports()
    assert [path.name for path in folder().iterdir()] == ["precious.json"]
