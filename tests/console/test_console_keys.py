"""Clients, their keys and the sessions by mouse: what is in use, what can go, and what is revoked."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from playwright.sync_api import expect

from aigen_bridge.api.auth import digest_of
from aigen_bridge.console.client_keys import State, client_keys, recorded_since
from aigen_bridge.console.pages.keys import odoo_keys
from aigen_bridge.domain.session import KeyUse
from aigen_bridge.settings import Client
from aigen_bridge.store.key_uses import fingerprint
from console.access import NORTH_OPS, TWO_ODOOS, as_viewer, opened
from console.operator import Operator, csrf_of, key_of, signed_in
from outages import rows, write
from stage import CLIENTS, UNREACHABLE, Stage, make_settings

Staging = Callable[..., Stage]
Visiting = Callable[..., Operator]
Run = Callable[..., Any]
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>"
ROTATING: dict[str, Any] = {
    "odoo": {"keys": ["key-of-odoo", "new-key-of-odoo"], "scopes": ["requests"]},
    "n8n": {"keys": ["old-key-of-n8n", "key-of-n8n"], "scopes": ["callbacks"]},
    "grafana": {"keys": ["key-of-grafana"], "scopes": ["ops"]},
    HOSTILE: {"keys": ["key-of-hostile"], "scopes": ["requests"]},
}


def use(client: str, key: str, first: int, last: int) -> KeyUse:
    """A key that was first and last used so many hours ago."""
    return KeyUse(client, fp(key), NOW - timedelta(hours=first), NOW - timedelta(hours=last))


def fp(key: str) -> str:
    return fingerprint(digest_of(key))


def states(keys: Sequence[str], *uses: KeyUse) -> list[tuple[str, State]]:
    client = Client(keys=keys, scopes=["requests"])
    [found] = client_keys({"odoo": client}, uses, None)
    return [(key.fingerprint, key.state) for key in found.keys]


def test_of_two_keys_the_older_can_go_when_it_was_not_used_since_the_newer_was() -> None:
    old, new = fp("old!"), fp("new!")
    needed = [(new, State.NEWER), (old, State.IN_USE)]
    assert states(["old!"]) == [(old, State.ONLY)]
    assert states(["old!", "new!"]) == needed, "nothing is known: as the settings list them"
    assert states(["old!", "new!"], use("odoo", "old!", 9, 1)) == needed, "the newer is not used yet"
    assert states(["new!", "old!"], use("odoo", "old!", 9, 1)) == needed, "whatever the order in the settings"
    both = (use("odoo", "old!", 9, 1), use("odoo", "new!", 3, 0))
    assert states(["new!", "old!"], *both) == needed, "some callers still have the older"
    replaced = (use("odoo", "old!", 9, 4), use("odoo", "new!", 3, 0))
    assert states(["old!", "new!"], *replaced) == [(new, State.NEWER), (old, State.REPLACED)]
    gone = (*replaced, use("odoo", "gone", 99, 50))
    assert states(["new!"], *gone) == [(new, State.ONLY), (old, State.REMOVED), (fp("gone"), State.REMOVED)]


def test_keys_of_clients_that_are_no_longer_in_the_settings_are_listed_as_removed() -> None:
    uses = [use("odoo", "key!", 9, 1), use("former", "key?", 99, 50)]
    found = client_keys({"odoo": Client(keys=["key!"], scopes=["requests"])}, uses, None)
    assert [(each.name, [key.state for key in each.keys]) for each in found] == [
        ("odoo", [State.ONLY]),
        ("former", [State.REMOVED]),
    ]
    assert found[1].rights == "no longer in AIGEN_CLIENTS"
    assert (recorded_since(uses), recorded_since([])) == (NOW - timedelta(hours=99), None)
    assert [each.name for each in client_keys({}, uses, "default")] == [], "of which Odoo it was is not known"


def test_an_operator_of_one_odoo_sees_only_the_clients_of_that_odoo() -> None:
    clients = make_settings("postgresql://x@127.0.0.1/x", **TWO_ODOOS).clients
    seen = {odoo: [each.name for each in client_keys(clients, [], odoo)] for odoo in (None, "default", "north")}
    assert seen == {
        None: ["n8n", "north", "north-ops", "odoo", "ops"],
        "default": ["odoo"],
        "north": ["north", "north-ops"],
    }


def test_the_keys_for_odoo_that_expire_first_are_at_the_top() -> None:
    def odoo(days: int | None) -> dict[str, Any]:
        at = None if days is None else (NOW + timedelta(days=days)).isoformat()
        return UNREACHABLE["odoo"] | {"api_key_expires": at}

    odoos = {"soon": odoo(13), "late": odoo(400), "over": odoo(-1)}
    settings = make_settings("postgresql://x@127.0.0.1/x", odoo=odoo(None), odoos=odoos)
    found = odoo_keys(settings, None, NOW)
    assert [(key.odoo, key.words[0]) for key in found] == [
        ("over", "expired"), ("soon", "expires soon"), ("late", "valid"), ("default", "not stated"),
    ]  # fmt: skip
    assert [key.setting for key in odoo_keys(settings, "default", NOW)] == ["AIGEN_ODOO__API_KEY_EXPIRES"]


async def _use_keys(database_url: str) -> None:
    """The old key of N8N was replaced, that of Odoo is still in use, and a client is gone."""
    insert = """
        INSERT INTO key_uses (client, fingerprint, first_at, last_at) VALUES
            ('odoo', :odoo, now() - interval '9 days', now() - interval '1 minute'),
            ('n8n', :old, now() - interval '90 days', now() - interval '2 days'),
            ('n8n', :new, now() - interval '1 day', now()),
            (:hostile, 'aaaaaaaaaaaa', now() - interval '80 days', now() - interval '70 days')
    """
    keys = {"odoo": fp("key-of-odoo"), "old": fp("old-key-of-n8n"), "new": fp("key-of-n8n")}
    async with opened(database_url) as database:
        await write(database, insert, **keys, hostile=f"former {HOSTILE}")


def test_keys_and_sessions_are_shown_and_a_session_is_revoked(
    staging: Staging, visiting: Visiting, run: Run, database_url: str
) -> None:
    soon = (datetime.now(UTC) + timedelta(days=5)).isoformat()
    clients = ROTATING | {"ops": CLIENTS["ops"]}
    stage = staging(clients=clients, odoos={"north": UNREACHABLE["odoo"] | {"api_key_expires": soon}})
    run(_use_keys(database_url))
    with signed_in(stage, "grafana") as other:
        operator = visiting(stage)
        page = operator.page
        operator.open("/keys")
        text = operator.text()
        for shown in (
            fp("new-key-of-odoo"), "older, still needed", "older, can go", "removed", HOSTILE, f"former {HOSTILE}",
            "not since", "expires soon", "AIGEN_ODOO__API_KEY_EXPIRES", "scopes callbacks · every Odoo · 2 keys",
        ):  # fmt: skip
            assert shown in text, shown
        own = page.locator("tr", has_text=fp(key_of("ops")))
        expect(own).not_to_contain_text("not since")
        html = page.content()
        for client in ("odoo", "n8n", "ops", "grafana"):
            assert key_of(client) not in html
            assert digest_of(key_of(client)).hex() not in html
        operator.snap("keys")
        session = page.locator("tr", has_text="grafana").filter(has=page.get_by_role("button", name="Revoke"))
        session.get_by_role("button", name="Revoke").click()
        operator.press_in_dialog("Revoke", reason="left the team")
        expect(page.locator(".notice.done")).to_contain_text("The session of grafana has ended.")
        assert other.get("/console/keys").status_code == 303
    expect(page.locator("tr", has_text="you").get_by_role("button", name="Revoke")).to_have_count(0)
    assert run(_revoked(database_url)) == [("ops", "session of grafana", "left the team")]
    operator.at_night_on_a_phone()
    operator.assert_nothing_sticks_out()
    operator.snap("keys-phone-dark")


async def _revoked(database_url: str) -> list[tuple[Any, ...]]:
    async with opened(database_url) as database:
        return await rows(database, "SELECT client, target, note FROM operations WHERE action = 'revoke'")


def test_a_session_is_revoked_only_by_an_operator_who_sees_it_and_says_why(staging: Staging, run: Run) -> None:
    stage = staging(**TWO_ODOOS)
    with signed_in(stage) as ops, signed_in(stage, NORTH_OPS) as limited, as_viewer(stage, run) as viewer:
        numbers = re.findall(r"/sessions/(\d+)/revoke", ops.get("/console/keys").text)
        assert len(numbers) == 2, "not one's own"
        assert re.findall(r"/sessions/(\d+)/revoke", limited.get("/console/keys").text) == []
        assert "Revoke" not in viewer.get("/console/keys").text
        own = str(min(map(int, numbers)) - 1)
        for console, number, reason, words in (
            (limited, own, "why not", "has ended already"),
            (viewer, own, "why not", "Open sessions"),
            (ops, own, "why not", "your own session"),
            (ops, numbers[0], "", "The reason is missing"),
            (ops, "999", "why not", "has ended already"),
            (ops, str(2**63), "why not", "less than or equal"),
        ):
            form = {"csrf": csrf_of(console), "reason": reason}
            refused = console.post(f"/console/keys/sessions/{number}/revoke", data=form)
            assert refused.status_code in {303, 403}, number
            assert words in console.get("/console/keys").text, words
        assert all(console.get("/console/keys").status_code == 200 for console in (ops, limited, viewer))
        page = limited.get("/console/keys").text
        assert ("north-ops" in page, fp(key_of("odoo")) in page) == (True, False)


def test_a_session_whose_key_is_gone_is_marked(staging: Staging) -> None:
    first = staging(clients=CLIENTS | {"grafana": {"keys": ["key-of-grafana"], "scopes": ["ops"]}})
    with signed_in(first, "grafana"), signed_in(staging()) as console:
        assert console.get("/console/keys").text.count("no longer valid, so it opens nothing") == 1
