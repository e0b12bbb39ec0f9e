"""What doctor says about each Odoo: its transport, its version, its database, and one that does not answer."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from aigen_bridge.doctor import odoo as odoo_check
from aigen_bridge.doctor.finding import Finding, Mark
from aigen_bridge.doctor.odoo import look_at_odoo
from aigen_bridge.settings.sections import OdooSettings as Settings
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.odoo import OdooSettings, OdooSimulator
from aigen_bridge.sim.serving import serving
from examination import examined
from stage import Stage

KEY = "key-of-the-bot-user"
UUID = "0d3f1b9c-1c1f-4a6e-9d3c-6a0f5b1c2d3e"
OTHER = "7a1e9a52-51c1-4b43-8e11-2f6f2a1f0c55"
NOT_ANSWERED = Fault(kind=FaultKind.STATUS, status=404, route="version", times=None)


@pytest.fixture
def odoo() -> OdooSimulator:
    return OdooSimulator(OdooSettings(api_key=KEY, series="19.0", database_uuid=UUID))


@pytest.fixture
async def url(odoo: OdooSimulator) -> AsyncIterator[str]:
    async with serving(odoo.app) as url:
        yield url


def settings(url: str, **changes: Any) -> Settings:
    given: dict[str, Any] = {"url": url, "database": "odoo", "login": "aigen-bridge", "api_key": SecretStr(KEY)}
    return Settings(**(given | changes))


def marks(found: list[Finding]) -> list[Mark]:
    return [finding.mark for finding in found]


@pytest.mark.parametrize(("series", "protocol"), [("18.0", "JSON-RPC"), ("19.0", "JSON-2")])
async def test_it_says_how_odoo_is_called(odoo: OdooSimulator, url: str, series: str, protocol: str) -> None:
    odoo.settings = replace(odoo.settings, series=series)
    found = await look_at_odoo("default", settings(url))

    assert marks(found) == [Mark.OK] * 3
    assert found[0].found.startswith(f"Odoo {series} answers in ")
    assert found[0].found.endswith(f"called over {protocol}.")


@pytest.mark.parametrize(
    ("series", "transport", "fault", "expected"),
    [
        ("19.0", "jsonrpc", None, (Mark.WARNING, "a later version of Odoo will not have", "TRANSPORT, or set it to")),
        ("19.0", "auto", NOT_ANSWERED, (Mark.WARNING, "called over JSON-RPC", "pass POST /web/webclient/version_info")),
        ("18.0", "json2", None, (Mark.WRONG, "has no JSON-2", "Remove AIGEN_ODOO__TRANSPORT")),
        ("20.0", "auto", None, (Mark.WARNING, "It is Odoo 20.0.", "tested with Odoo 18 and 19")),
        ("17.0", "auto", None, (Mark.WARNING, "It is Odoo 17.0.", "tested with Odoo 18 and 19")),
    ],
)
async def test_it_warns_of_a_transport_or_a_version_that_does_not_fit(
    odoo: OdooSimulator, url: str, series: str, transport: str, fault: Fault | None, expected: tuple[Mark, str, str]
) -> None:
    odoo.settings = replace(odoo.settings, series=series)
    odoo.faults.add(*([fault] if fault else []))
    line = (await look_at_odoo("default", settings(url, transport=transport)))[0]

    mark, found, advice = expected
    assert (line.mark, found in line.found, advice in line.advice) == (mark, True, True), line


@pytest.mark.parametrize(
    ("changes", "found", "advice"),
    [
        (
            {"api_key": SecretStr("a-key-that-odoo-never-saw")},
            "refuses the API key",
            "api_key of 'north' in AIGEN_ODOOS",
        ),
        ({"database": "other"}, "no database 'other'", "database of 'north' in AIGEN_ODOOS"),
    ],
)
async def test_over_json2_a_wrong_key_or_database_is_named_with_the_setting_of_that_odoo(
    url: str, changes: dict[str, Any], found: str, advice: str
) -> None:
    line = (await look_at_odoo("north", settings(url, **changes)))[-1]

    assert (line.mark, line.about) == (Mark.WRONG, "Odoo north")
    assert (found in line.found, advice in line.advice) == (True, True), line


@pytest.mark.parametrize(
    ("behaviour", "found"),
    [({"addon": False}, "addon aigen_image is not installed"), ({"may_apply": False}, "no right to call")],
)
async def test_over_json2_a_missing_addon_or_right_is_said(
    odoo: OdooSimulator, url: str, behaviour: dict[str, Any], found: str
) -> None:
    odoo.settings = replace(odoo.settings, **behaviour)
    line = (await look_at_odoo("default", settings(url)))[-1]

    assert (line.mark, found in line.found) == (Mark.WRONG, True), line


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (403, "Correct AIGEN_ODOO__URL or the proxy, then replay"),
        (404, "blocks its /jsonrpc (Odoo 19: /json/2). Results"),
    ],
)
async def test_a_proxy_that_blocks_json2_is_named_and_so_is_what_happens_to_the_results(
    odoo: OdooSimulator, url: str, status: int, expected: str
) -> None:
    odoo.faults.add(Fault(kind=FaultKind.STATUS, status=status, route="json2", times=None))
    line = (await look_at_odoo("default", settings(url)))[-1]

    assert (line.mark, expected in line.advice, "are held" in line.advice) == (Mark.WRONG, True, status == 404), line


async def test_json2_that_the_settings_name_works_without_the_question_for_the_version(
    odoo: OdooSimulator, url: str
) -> None:
    odoo.faults.add(NOT_ANSWERED)
    found = await look_at_odoo("default", settings(url, transport="json2"))

    assert marks(found) == [Mark.WARNING, Mark.OK, Mark.OK]
    assert "does not tell its version" in found[0].found


async def test_an_answer_to_the_offer_that_is_a_proxys_is_wrong(odoo: OdooSimulator, url: str) -> None:
    maintenance = '{"status": "maintenance"}'
    odoo.faults.add(Fault(kind=FaultKind.BODY, status=200, detail=maintenance, route="json2", times=None))
    line = (await look_at_odoo("default", settings(url)))[-1]

    assert (line.mark, "'maintenance'" in line.found) == (Mark.WRONG, True)
    assert line.advice.startswith("Wait if Odoo is being updated")


@pytest.mark.parametrize("known", [None, UUID, UUID.upper()])
async def test_the_known_database_is_fine_and_so_is_the_first_one(url: str, known: str | None) -> None:
    assert marks(await look_at_odoo("default", settings(url), known)) == [Mark.OK] * 3


async def test_an_addon_that_does_not_tell_its_database_is_fine(odoo: OdooSimulator, url: str) -> None:
    odoo.settings = replace(odoo.settings, tells_database=False)
    assert marks(await look_at_odoo("default", settings(url), OTHER)) == [Mark.OK] * 3


async def test_another_database_than_the_known_one_is_wrong_and_says_how_to_confirm_it(url: str) -> None:
    line = (await look_at_odoo("north", settings(url), OTHER))[-1]

    assert (line.mark, UUID in line.found, OTHER in line.found) == (Mark.WRONG, True, True)
    assert "'aigen-bridge odoos confirm north'" in line.advice


async def test_an_odoo_that_hangs_somewhere_does_not_hang_the_examination(
    odoo: OdooSimulator, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(odoo_check, "ODOO_SECONDS", 0.5)
    odoo.faults.add(Fault(kind=FaultKind.DELAY, delay=5, times=None))
    found = await look_at_odoo("default", settings(url))

    assert marks(found) == [Mark.OK, Mark.WRONG]
    assert found[1].found.startswith("No answer within")


async def test_each_odoo_has_its_lines_and_a_dead_one_hides_no_other(
    idle_stage: Stage, database_url: str, url: str
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO odoos (name, database_uuid) VALUES ('north', %s)", [OTHER])
    others = {"north": settings(url), "south": settings("http://127.0.0.1:9", api_key=SecretStr("secret-of-the-south"))}
    found = await examined(idle_stage.settings.model_copy(update={"odoos": others}))

    assert {line.mark for line in found.about("Odoo")} == {Mark.OK}, found.text()
    assert "odoos confirm north" in found.worst("Odoo north").advice
    [south] = found.about("Odoo south")
    assert (south.mark, "url of 'south' in AIGEN_ODOOS" in south.advice) == (Mark.WRONG, True)
