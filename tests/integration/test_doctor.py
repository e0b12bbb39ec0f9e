"""The doctor over real sockets: each fault shows as a line of its own with what to do, and looking changes nothing."""

from dataclasses import replace
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from aigen_bridge.doctor.finding import Mark
from aigen_bridge.sim import odoo as odoo_simulator
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.odoo import METHOD
from aigen_bridge.sim.odoo_rpc import RpcFault
from examination import examined, with_part
from stage import Stage, working


async def test_a_healthy_bridge_has_nothing_wrong_and_only_says_what_nobody_can_know(stage: Stage) -> None:
    found = await examined(stage.settings)

    assert not found.wrong(), found.text()
    assert {f.about for f in found.findings if f.mark is Mark.WARNING} <= {"N8N key", "disk", "settings"}, found.text()
    assert "nothing was dispatched lately" in found.worst("N8N key").found


async def test_a_dispatch_that_worked_proves_the_key(stage: Stage) -> None:
    await stage.until_delivered((await stage.ask())["requestId"])
    found = await examined(stage.settings)

    assert found.worst("N8N key").mark is Mark.OK
    assert "accepted it" in found.worst("N8N key").found


async def test_a_key_that_n8n_refused_is_said_with_the_way_back(idle_stage: Stage) -> None:
    settings = with_part(idle_stage.settings, "n8n", api_key=SecretStr("no-such-key-in-n8n"))
    async with working(settings):
        asked = await idle_stage.ask()
        await idle_stage.until_delivered(asked["requestId"])
        found = await examined(settings)

    assert found.wrong() == {"N8N key"}, found.text()
    assert "dead-letters replay" in found.worst("N8N key").advice
    assert found.worst("dead letters").found.startswith("1 dispatch; the oldest is")


async def test_looking_changes_nothing_in_any_system(idle_stage: Stage, database_url: str) -> None:
    """Odoo's simulator would make a record of whatever it is told, so a result that could apply would show."""
    before = _everything_in(database_url)
    chain = idle_stage.chain
    for changed in (
        idle_stage.settings,
        with_part(idle_stage.settings, "odoo", login="nobody"),
        with_part(idle_stage.settings, "n8n", webhook_url=chain.n8n_url + "/webhook/other"),
    ):
        await examined(changed)

    assert _everything_in(database_url) == before
    assert (len(chain.odoo.records), dict(chain.odoo.records.calls)) == (0, {})
    assert (chain.n8n.running, chain.n8n.attempts, chain.n8n.dead) == (0, [], [])
    assert [call.status for call in chain.n8n.calls.to("webhook")] == [422, 422]
    assert list(chain.flux.calls) == []


def _everything_in(url: str) -> dict[str, list[Any]]:
    with psycopg.connect(url) as connection:
        names = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'api_beats'"  # the API's own
        ).fetchall()
        return {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for (name,) in names}  # noqa: S608


class TestN8n:
    async def test_dead(self, idle_stage: Stage) -> None:
        settings = with_part(idle_stage.settings, "n8n", webhook_url="http://127.0.0.1:9/webhook/aigen")
        line = (await examined(settings)).worst("N8N")

        assert (line.mark, "could not be reached" in line.found) == (Mark.WRONG, True)
        assert "Start N8N" in line.advice

    async def test_workflow_not_published(self, idle_stage: Stage) -> None:
        settings = with_part(idle_stage.settings, "n8n", webhook_url=idle_stage.chain.n8n_url + "/webhook/other")
        line = (await examined(settings)).worst("N8N")

        assert (line.mark, "not registered (404)" in line.found) == (Mark.WRONG, True)
        assert "Publish the workflow" in line.advice

    async def test_failing(self, idle_stage: Stage) -> None:
        idle_stage.chain.n8n.faults.add(Fault(kind=FaultKind.STATUS, route="webhook", status=503))
        line = (await examined(idle_stage.settings)).worst("N8N")

        assert (line.mark, "503 Service Unavailable" in line.found) == (Mark.WRONG, True)

    async def test_something_else(self, idle_stage: Stage) -> None:
        idle_stage.chain.n8n.faults.add(Fault(kind=FaultKind.STATUS, route="webhook", status=200))
        line = (await examined(idle_stage.settings)).worst("N8N")

        assert (line.mark, "N8N would answer 422" in line.found) == (Mark.WARNING, True)


class TestOdoo:
    async def test_dead(self, idle_stage: Stage) -> None:
        settings = with_part(idle_stage.settings, "odoo", url="http://127.0.0.1:9")
        lines = (await examined(settings)).about("Odoo")

        assert [line.mark for line in lines] == [Mark.WRONG]
        assert "could not be reached" in lines[0].found
        assert "Start Odoo" in lines[0].advice

    @pytest.mark.parametrize(
        ("changes", "found", "advice"),
        [
            ({"api_key": SecretStr("a-key-that-odoo-never-saw")}, "refuses the login", "new API key"),
            ({"login": "nobody"}, "refuses the login", "new API key"),
            ({"database": "other"}, 'database "other" does not exist', "AIGEN_ODOO__DATABASE"),
        ],
    )
    async def test_login(self, idle_stage: Stage, changes: dict[str, Any], found: str, advice: str) -> None:
        said = await examined(with_part(idle_stage.settings, "odoo", **changes))
        reached, login = said.about("Odoo")

        assert (reached.mark, login.mark) == (Mark.OK, Mark.WRONG)
        assert found in login.found
        assert advice in login.advice
        assert "a-key-that-odoo-never-saw" not in said.text()

    @pytest.mark.parametrize(
        ("behaviour", "found", "advice"),
        [
            ({"addon": False}, "addon aigen_image is not installed", "--init=aigen_image"),
            ({"may_apply": False}, "no right to call", "group"),
        ],
    )
    async def test_addon(self, idle_stage: Stage, behaviour: dict[str, Any], found: str, advice: str) -> None:
        odoo = idle_stage.chain.odoo
        odoo.settings = replace(odoo.settings, **behaviour)
        line = (await examined(idle_stage.settings)).about("Odoo")[-1]

        assert (line.mark, found in line.found, advice in line.advice) == (Mark.WRONG, True, True), line

    @pytest.mark.parametrize(("addon", "bridge", "mark"), [(1000, 1024, Mark.WARNING), (1024, 1024, Mark.OK)])
    async def test_limit_of_images(self, idle_stage: Stage, addon: int, bridge: int, mark: Mark) -> None:
        odoo = idle_stage.chain.odoo
        odoo.settings = replace(odoo.settings, max_image_bytes=addon)
        line = (await examined(with_part(idle_stage.settings, "callback", max_bytes=bridge))).worst("Odoo")

        assert line.mark is mark, line
        if mark is Mark.WARNING:
            assert "up to 1024 bytes, the addon only up to 1000" in line.found
            assert "AIGEN_CALLBACK__MAX_BYTES to 1000" in line.advice
            assert "aigen_image.max_image_bytes to 1024" in line.advice

    async def test_limit_of_images_of_an_older_addon(self, idle_stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(odoo_simulator, "LIMITS", "not yet")
        line = (await examined(with_part(idle_stage.settings, "callback", max_bytes=40 * 2**20))).worst("Odoo")

        assert (line.mark, f"only up to {32 * 2**20}" in line.found) == (Mark.WARNING, True), line

    @pytest.mark.parametrize(
        ("refused_with", "message", "mark", "found"),
        [
            ("odoo.exceptions.UserError", "There is no such image request.", Mark.OK, "may call it"),
            ("odoo.exceptions.MissingError", "Record does not exist.", Mark.OK, "may call it"),
            ("odoo.exceptions.ValidationError", "The version must be 1.", Mark.OK, "may call it"),
            ("odoo.exceptions.AccessError", "Only the bridge reports results.", Mark.WRONG, "no right to call"),
            ("builtins.AttributeError", "does not exist", Mark.WRONG, "the addon is too old"),
            ("builtins.RuntimeError", "oops", Mark.WRONG, "builtins.RuntimeError: oops"),
        ],
    )
    async def test_who_refuses_a_result_for_nothing_tells_how_it_stands(
        self,
        idle_stage: Stage,
        monkeypatch: pytest.MonkeyPatch,
        refused_with: str,
        message: str,
        mark: Mark,
        found: str,
    ) -> None:
        def run(_model: str, method: str, *_: object) -> object:
            if method == METHOD:
                raise RpcFault(refused_with, message)
            return {} if method == "context_get" else False

        monkeypatch.setattr(idle_stage.chain.odoo, "_run", run)
        line = (await examined(idle_stage.settings)).about("Odoo")[-1]

        assert (line.mark, found in line.found) == (mark, True), line
