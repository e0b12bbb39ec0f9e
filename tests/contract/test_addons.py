"""What can be known of the Odoo addons without an Odoo: manifests, XML, access rights, translations."""

import ast
import csv
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigen_bridge.contracts.facts import SEED_MAX, ReportedCost, ReportedGeneration, read_facts
from aigen_bridge.contracts.resources import CostState, GenerationState
from aigen_bridge.contracts.wire import shows_nothing

ADDONS = Path(__file__).parents[2] / "addons"
NAMES = sorted(path.parent.name for path in ADDONS.glob("*/__manifest__.py"))
VIEW_ROOTS = {"form", "kanban", "list", "search", "xpath", "field", "filter"}
INHERITED_FIELDS = {"id", "display_name", "create_date", "write_date", "create_uid", "write_uid"}
DATA_TAGS = {"record", "menuitem", "function"}
ENTRY = re.compile(r'^msgid ((?:".*"\n)+)msgstr ((?:".*"\n?)+)', re.MULTILINE)

REFERENCE = re.compile(r"model(_terms)?:[\w.]+,\w+:\w+\.[^ :]+|.*:0")

addon = pytest.mark.parametrize("name", NAMES)


def manifest(name):
    return ast.literal_eval((ADDONS / name / "__manifest__.py").read_text())


def classes(name) -> Iterator[tuple[str, str, set[str]]]:
    """Kind of class, model and fields of every model class of an addon."""
    for path in (ADDONS / name).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and node.bases:
                given = {t.id: s.value for s in node.body if isinstance(s, ast.Assign) for t in s.targets}
                model = given.get("_name") or given.get("_inherit")
                if isinstance(model, ast.Constant):
                    fields = {key for key, value in given.items() if ast.unparse(value).startswith("fields.")}
                    kind = ast.unparse(node.bases[0]) if "_name" in given else "extension"
                    yield kind, model.value, fields


def fields_of(model) -> set[str]:
    found = set(INHERITED_FIELDS)
    for name in NAMES:
        found |= {field for _, other, fields in classes(name) if other == model for field in fields}
    return found


def xml_files(name) -> list[Path]:
    return [*(ADDONS / name).rglob("*.xml")]


def test_there_are_addons():
    assert NAMES == ["aigen_image", "aigen_image_utm"]


@addon
def test_the_manifest_is_complete_and_every_file_that_it_names_is_there(name):
    found = manifest(name)
    assert found["license"] == "LGPL-3"
    assert re.fullmatch(r"\d+\.\d+\.\d+", found["version"])  # Odoo puts its own series before it
    assert all(found[key] for key in ("name", "summary", "author", "category", "depends"))
    for path in found.get("data", []) + found.get("demo", []):
        assert (ADDONS / name / path).is_file(), path
    for pattern in (entry for bundle in found.get("assets", {}).values() for entry in bundle):
        assert any(ADDONS.glob(pattern)), pattern
    assert (ADDONS / name / "LICENSE").read_text().lstrip().startswith("GNU LESSER GENERAL PUBLIC LICENSE")
    for path in ("README.rst", "readme/DESCRIPTION.md", "static/description/icon.png"):
        assert (ADDONS / name / path).is_file(), path


@addon
def test_every_data_file_is_listed_in_the_manifest(name):
    found = manifest(name)
    listed = set(found.get("data", []) + found.get("demo", []))
    here = {path.relative_to(ADDONS / name).as_posix() for path in xml_files(name) if "static" not in path.parts}
    assert here <= listed


def test_the_addon_depends_on_nothing_but_the_base():
    assert manifest("aigen_image")["depends"] == ["base", "web", "bus", "mail"]


@addon
def test_xml_is_well_formed_and_made_of_records(name):
    for path in xml_files(name):
        root = ET.parse(path).getroot()  # noqa: S314 - our own files
        assert root.tag == ("templates" if "static" in path.parts else "odoo"), path
        if root.tag == "odoo":
            assert {child.tag for child in root} <= DATA_TAGS, path
            assert all(child.get("id") for child in root if child.tag != "function"), path


@addon
def test_views_show_fields_that_exist(name):
    for path in xml_files(name):
        for record in ET.parse(path).getroot().iterfind("record[@model='ir.ui.view']"):  # noqa: S314
            model = record.findtext("field[@name='model']")
            arch = record.find("field[@name='arch']")
            assert arch is not None, path
            assert {child.tag for child in arch} <= VIEW_ROOTS, path
            if model != "res.config.settings":
                shown = {field.get("name") for field in arch.iter("field")} - {"arch"}
                assert shown <= fields_of(model), (path, shown - fields_of(model))


@addon
def test_every_model_has_access_rights(name):
    kept = {model for kind, model, _ in classes(name) if kind in {"models.Model", "models.TransientModel"}}
    path = ADDONS / name / "security" / "ir.model.access.csv"
    rows = list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []
    assert {"model_" + model.replace(".", "_") for model in kept} <= {row["model_id:id"] for row in rows}
    assert all(row["group_id:id"] for row in rows), "access for everybody"


@addon
@pytest.mark.parametrize("language", ["de", "es"])
def test_every_text_is_translated(name, language):
    folder = ADDONS / name / "i18n"
    wanted = texts(folder / f"{name}.pot")
    found = texts(folder / f"{language}.po")
    assert wanted.keys() == found.keys()
    assert [source for source, translated in found.items() if source and not translated] == []
    for source, translated in found.items():
        if source:
            assert re.findall(r"%s|%\(\w+\)s", source) == re.findall(r"%s|%\(\w+\)s", translated), source


@addon
def test_odoo_finds_what_a_translation_is_of(name):
    """Odoo takes what follows the last colon of a reference for a line, also in `…__shape__1:1`: that needs `:0`."""
    for path in (ADDONS / name / "i18n").glob("*.po*"):
        references = re.findall(r"^#: (model.*)$", path.read_text(), re.MULTILINE)
        assert [found for found in references if not REFERENCE.fullmatch(found)] == [], path


def texts(path) -> dict[str, str]:
    """Source texts and translations of a PO file."""
    pairs = ENTRY.findall(path.read_text())
    return {joined(source): joined(translated) for source, translated in pairs}


def joined(quoted) -> str:
    return "".join(ast.literal_eval(line) for line in quoted.strip().splitlines())


BRIDGE_IN_THE_ADDON = ADDONS / "aigen_image" / "bridge"
OF_THE_ADDON = runpy.run_path(str(BRIDGE_IN_THE_ADDON / "text.py"))
FACTS_IN_THE_ADDON = runpy.run_path(str(BRIDGE_IN_THE_ADDON / "facts.py"))


@given(st.text(alphabet=st.characters()) | st.text(alphabet="\u200b\ufe0f\u2800\u3164\u0301\x07 \U000e0100"))
def test_the_addon_and_the_bridge_agree_on_which_texts_show_nothing(text):
    assert OF_THE_ADDON["shows_nothing"](text) == shows_nothing(text)


def told_to_odoo(generation, cost):
    """What the bridge tells Odoo of the facts in a callback."""
    facts, wrong = read_facts(ReportedGeneration.model_validate(generation), ReportedCost.model_validate(cost))
    assert facts.cost
    assert wrong == []
    known = {"generation": GenerationState.of(facts.generation, None), "cost": CostState.of(facts.cost)}
    return {name: state.model_dump(mode="json", by_alias=True) for name, state in known.items()}


@given(
    seed=st.integers(0, SEED_MAX),
    amount=st.decimals(0, 10**12 - 1, places=9, allow_nan=False).map(lambda amount: f"{amount:f}"),
    use=st.sampled_from(["used", "folded", "ignored", "folded into the prompt"]),
)
def test_the_addon_keeps_the_facts_that_the_bridge_tells(seed, amount, use):
    generation = {"provider": "fal", "jobId": "7f21", "model": "fal-ai/flux-lora", "seconds": 3.1}
    generation |= {"seed": seed, "negativePrompt": use, "hasNsfwConcepts": [False, True]}
    told = told_to_odoo(generation, {"amount": amount, "currency": "USD", "basis": "billed"})
    assert FACTS_IN_THE_ADDON["read_made"](told) == {
        "provider": "fal",
        "provider_model": "fal-ai/flux-lora",
        "provider_job": "7f21",
        "seed_used": str(seed),
        "made_in": 3.1,
        "negative_prompt_use": use.split()[0],
        "is_nsfw": True,
        "cost_amount": told["cost"]["amount"],
        "cost_currency": "USD",
        "cost_basis": "billed",
    }
