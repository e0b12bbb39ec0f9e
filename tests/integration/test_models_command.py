"""`aigen-bridge models`: lists, puts and removes models."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from click.testing import Result
from typer.testing import CliRunner

from aigen_bridge.cli import app
from aigen_bridge.domain.request import NewRequest
from aigen_bridge.store.catalogue import Models
from aigen_bridge.store.database import Database
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.transitions import Deadlines
from outages import rows, write
from stage import make_event

EXAMPLE = str(Path(__file__).parents[2] / "docs" / "examples" / "models.yaml")
ID = "0c9f4c1e-52a0-4d1f-8a3b-6f1f6e0e7a11"
DEADLINES = Deadlines(callback=timedelta(minutes=10), image_url=timedelta(minutes=5))
Run = Callable[..., Awaitable[Result]]


@pytest.fixture
def run(configured: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in this process."""
    monkeypatch.setattr("aigen_bridge.logs.configure", lambda *_: None)  # the tests keep their own log

    async def run(*arguments: str, of: str = "models") -> Result:
        env = configured | {"COLUMNS": "200"}
        return await asyncio.to_thread(CliRunner().invoke, app, [of, *arguments], env=env)

    return run


async def test_a_file_is_put_and_listed_and_putting_it_again_changes_nothing(run: Run, database: Database) -> None:
    first, second = await run("put", "--file", EXAMPLE), await run("put", "--file", EXAMPLE)

    assert (first.exit_code, second.exit_code) == (0, 0), first.output
    assert first.output.count("is put.") == second.output.count("is unchanged.") == 3
    assert "The catalogue has 3 models: requests for any other are refused." in first.output
    [count] = await rows(database, "SELECT count(*), count(DISTINCT target) FROM operations WHERE action = 'put'")
    assert count == (3, 3)
    listed = (await run("list")).output
    assert [line.split("│")[5].strip() for line in listed.splitlines() if "│" in line] == [
        "Flux",
        "Flux Pro",
        "Watercolor",
    ]
    assert "0.035 USD per megapixel" in listed


async def test_a_file_with_one_wrong_entry_changes_nothing(run: Run, database: Database, tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(Path(EXAMPLE).read_text().replace("min: 20", "min: 60"))

    result = await run("put", "--file", str(file))

    assert result.exit_code == 2
    assert "entry 2 (Watercolor): steps must have min ≤ default ≤ max, instead of 60, 30, 50." in result.output
    assert (await Models(database).read()).is_empty


async def test_a_model_is_put_from_options(run: Run, database: Database) -> None:
    options = ["--name", "Ink", "--endpoint", "https://fal.run/ink", "--lora", "https://x.example/a=b.bin=0.5"]
    options += ["--steps", "1,50,28", "--resolution", "1024x1024", "--price", "0.05", "--currency", "USD"]
    result = await run("put", ID, *options)

    assert result.exit_code == 0, result.output
    [model] = (await Models(database).read()).by_name()
    assert model.entry["loras"] == [{"path": "https://x.example/a=b.bin", "scale": 0.5}]
    assert (model.name, str(model.price and model.price.money)) == ("Ink", "0.05 USD")
    without_currency = await run("put", ID, *options[:-2])
    assert (without_currency.exit_code, "price.currency is missing" in without_currency.output) == (2, True)


async def test_options_beside_a_file_are_refused_instead_of_being_ignored(run: Run, database: Database) -> None:
    result = await run("put", "--file", EXAMPLE, "--no-active", "--per", "megapixel")

    assert (result.exit_code, result.output) == (
        2,
        "With --file, the file says everything. Leave out --per, --active.\n",
    )
    assert (await run("put", ID, "--file", EXAMPLE)).exit_code == 2
    assert (await Models(database).read()).is_empty


async def test_a_listed_catalogue_can_be_put_again(run: Run, database: Database, tmp_path: Path) -> None:
    await run("put", "--file", EXAMPLE)
    file = tmp_path / "models.json"
    file.write_text((await run("list", "--json")).output)

    assert (await run("put", "--file", str(file))).output.count("is unchanged.") == 3
    assert await rows(database, "SELECT count(*) FROM models WHERE entry ?| '{modelId,updatedAt,active}'") == [(0,)]


async def test_the_price_of_a_request_is_shown_until_its_cost_is_known(run: Run, database: Database) -> None:
    event = make_event()
    price = {"amount": "0.05", "currency": "USD", "per": "image"}
    new = NewRequest(UUID(event["requestId"]), UUID(event["correlationId"]), event, model={"price": price})
    await Requests(database, DEADLINES, PostgresImages(database)).accept(new)

    shown = (await run("show", event["requestId"], of="requests")).output

    assert [line.split() for line in shown.splitlines() if "price" in line] == [["price", "0.05", "USD"]]


async def test_removing_the_last_model_says_that_every_model_is_accepted_again(run: Run, database: Database) -> None:
    await run("put", ID, "--name", "Ink", "--endpoint", "https://fal.run/ink")

    assert "requests for any model are accepted" in (await run("remove", ID)).output
    assert await rows(database, "SELECT action FROM operations ORDER BY id") == [("put",), ("remove",)]
    again = await run("remove", ID)
    assert again.exit_code == 1
    assert "no model" in str(again.exception)


async def test_an_entry_that_cannot_be_read_is_named_and_the_others_are_listed(run: Run, database: Database) -> None:
    await run("put", "--file", EXAMPLE)
    await write(database, "UPDATE models SET entry = entry - 'name' WHERE entry ->> 'name' = 'Flux'")

    listed = (await run("list")).output

    assert "cannot be read: name is missing. Its requests are refused. Put it again." in listed
    assert "Watercolor" in listed
