"""`aigen-bridge models`: lists, puts and removes the models of the catalogue."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from aigen_bridge.cli.operate import operating
from aigen_bridge.cli.terminal import complaints, fail, person, say, say_json, say_table
from aigen_bridge.domain.catalogue import Catalogue, Model, PriceUnit
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.errors import BridgeError
from aigen_bridge.quoting import one_line

if TYPE_CHECKING:
    from aigen_bridge.contracts.models import ModelEntry

app = typer.Typer(help="List, put and remove the models of the catalogue.", no_args_is_help=True)

ModelId = Annotated[UUID, typer.Argument(help="The UUID of the model.")]
RANGE = "MIN,MAX,DEFAULT"


@app.command(name="list")
def list_models(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the models of the catalogue by name."""

    async def run() -> None:
        from aigen_bridge.contracts.models import model_list

        async with operating() as parts:
            catalogue = await parts.models.read()
        if as_json:
            say_json(model_list(catalogue))
        else:
            _print(catalogue)

    asyncio.run(run())


def _print(catalogue: Catalogue) -> None:
    if catalogue.is_empty:
        say(_scope(catalogue))
        return
    say_table(("id", "active", "price", "provider", "name"), [_row(model) for model in catalogue.by_name()])
    for model_id, reason in catalogue.unreadable.items():
        say(one_line(f"{model_id} cannot be read: {reason}. Its requests are refused. Put it again."))


def _row(model: Model) -> tuple[str, ...]:
    return (
        str(model.model_id),
        "yes" if model.is_active else "no",
        f"{model.price.money} per {model.price.per}" if model.price else "none",
        str(model.entry["provider"]["kind"]),
        model.name,
    )


@app.command()
def put(
    context: typer.Context,
    model_id: Annotated[UUID | None, typer.Argument(help="The UUID of the model; not with --file.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help="A YAML or JSON file with a list of models, each with its modelId.", exists=True, dir_okay=False
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The name that people see.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is good for.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="The URL of the AI service.", metavar="URL")] = None,
    kind: Annotated[str, typer.Option(help="The AI service.")] = "fal",
    lora: Annotated[
        list[str] | None, typer.Option(help="A LoRA, with its weight. Repeatable.", metavar="PATH[=SCALE]")
    ] = None,
    negative_prompt: Annotated[bool, typer.Option(help="Does it use negative prompts?")] = False,
    seed: Annotated[bool, typer.Option(help="Does it use seeds?")] = True,
    steps: Annotated[str | None, typer.Option(help="The inference steps.", metavar=RANGE)] = None,
    cfg_scale: Annotated[str | None, typer.Option(help="The guidance scale.", metavar=RANGE)] = None,
    resolution: Annotated[
        list[str] | None, typer.Option(help="An offered resolution. Repeatable; without it, any.", metavar="WxH")
    ] = None,
    image_format: Annotated[str | None, typer.Option("--format", help="png, jpeg or webp.")] = None,
    price: Annotated[str | None, typer.Option(help="What an image costs, such as 0.035.")] = None,
    currency: Annotated[str | None, typer.Option(help="The currency of the price, such as USD.")] = None,
    per: Annotated[PriceUnit, typer.Option(help="What the price is for.")] = PriceUnit.IMAGE,
    active: Annotated[bool, typer.Option(help="Is it offered for new requests?")] = True,
) -> None:
    """Add or replace a model, or all models of a file. Other models stay.

    A file takes effect as a whole or not at all. Requests that were accepted keep the entry that they have.
    """
    if file is not None:
        if ignored := _given(context, beside="file"):
            fail(f"With --file, the file says everything. Leave out {', '.join(ignored)}.", status=2)
        entries = _file_entries(file)
    elif model_id is None:
        fail("Give either the UUID of a model or --file.", status=2)
    else:
        wire = {
            "name": name,
            "description": description,
            "provider": {"kind": kind, "endpoint": endpoint},
            "loras": [_lora(text) for text in lora] if lora else None,
            "supports": {"negativePrompt": negative_prompt, "seed": seed},
            "steps": _range(steps, "--steps"),
            "cfgScale": _range(cfg_scale, "--cfg-scale"),
            "resolutions": resolution or None,
            "format": image_format,
            "price": {"amount": price, "currency": currency, "per": per.value} if price or currency else None,
            "active": active,
        }
        entries = {model_id: _entry(wire)}
    asyncio.run(_put(entries))


def _given(context: typer.Context, *, beside: str) -> list[str]:
    """Returns the options and arguments that the person gave beside one of them."""
    named = {each.name: each.opts[0] for each in context.command.params if each.name and each.name != beside}
    sources = {name: context.get_parameter_source(name) for name in named}
    return [named[name] for name, source in sources.items() if source and source.name == "COMMANDLINE"]


def _file_entries(file: Path) -> "Mapping[UUID, ModelEntry]":
    from aigen_bridge.cli.model_file import WrongFileError, read_file

    try:
        return read_file(file)
    except WrongFileError as error:
        fail(*error.lines, "Nothing was changed.", status=2)


def _entry(wire: Mapping[str, Any]) -> "ModelEntry":
    from aigen_bridge.contracts.messages import parse_body
    from aigen_bridge.contracts.models import ModelEntry

    given = {key: _without_none(value) for key, value in wire.items() if value is not None}
    try:
        return parse_body(json.dumps(given).encode(), ModelEntry)
    except BridgeError as error:
        fail(*complaints(error), "Nothing was changed.", status=2)


def _without_none(value: Any) -> Any:
    return {key: part for key, part in value.items() if part is not None} if isinstance(value, dict) else value


def _lora(text: str) -> dict[str, Any]:
    """Parses `PATH=SCALE`. What follows the last `=` is part of the path if it is no number."""
    path, _, scale = text.rpartition("=")
    try:
        return {"path": path, "scale": float(scale)} if path else {"path": text}
    except ValueError:
        return {"path": text}


def _range(text: str | None, option: str) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        least, most, default = map(json.loads, text.split(","))
    except ValueError:
        fail(f"{option} must be {RANGE}, such as 10,50,28, instead of {text!r}.", status=2)
    return {"min": least, "max": most, "default": default}


async def _put(entries: "Mapping[UUID, ModelEntry]") -> None:
    async with operating() as parts:
        changed = await parts.catalogue_changes.put(entries, OperatorAction(person()))
        catalogue = await parts.models.read()
    for model_id, entry in entries.items():
        state = "is put" if model_id in changed else "is unchanged"
        say(one_line(f"{entry.name} ({model_id}) {state}.{_remark(entry)}"))
    say(_scope(catalogue))


def _remark(entry: "ModelEntry") -> str:
    return "" if entry.price else " It has no price, so budgets do not count it."


@app.command()
def remove(model_id: ModelId) -> None:
    """Remove a model. Requests that were accepted keep its entry.

    To keep a model and only refuse new requests for it, put it with --no-active.
    """

    async def run() -> None:
        async with operating() as parts:
            await parts.catalogue_changes.remove(model_id, OperatorAction(person()))
            catalogue = await parts.models.read()
        say(f"{model_id} is removed. {_scope(catalogue)}")

    asyncio.run(run())


def _scope(catalogue: Catalogue) -> str:
    if catalogue.is_empty:
        return "The catalogue is empty: requests for any model are accepted."
    number = len(catalogue.models) + len(catalogue.unreadable)
    return f"The catalogue has {number} model{'' if number == 1 else 's'}: requests for any other are refused."
