"""What can be known of the Odoo addons without an Odoo: manifests, XML, access rights, translations."""

import ast
import csv
import importlib.util
import re
import sys
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aigen_bridge.contracts.facts import SEED_MAX, ReportedCost, ReportedGeneration, read_facts
from aigen_bridge.contracts.resources import CostState, GenerationState
from aigen_bridge.contracts.v1 import ASPECT_TOLERANCE
from aigen_bridge.contracts.wire import shows_nothing
from aigen_bridge.domain.catalogue import Price, PriceUnit
from aigen_bridge.domain.money import amount_text

ADDONS = Path(__file__).parents[2] / "addons"
NAMES = sorted(path.parent.name for path in ADDONS.glob("*/__manifest__.py"))
VIEW_ROOTS = {"form", "graph", "kanban", "list", "pivot", "search"}
MIXINS = {"aigen.image.linked", "aigen.image.mixin", "aigen.shared"}
INHERITED_FIELDS = {"id", "display_name", "create_date", "write_date", "create_uid", "write_uid"}
DATA_TAGS = {"record", "menuitem", "function", "template"}
ENTRY = re.compile(r'^msgid ((?:".*"\n)+)msgstr ((?:".*"\n?)+)', re.MULTILINE)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
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
                    inherited = ast.unparse(given["_inherit"]) if "_inherit" in given else ""
                    is_new = "_name" in given and repr(model.value) not in inherited
                    kind = ast.unparse(node.bases[0]) if is_new else "extension"
                    yield kind, model.value, fields


@cache
def fields_of(model) -> set[str]:
    found = set(INHERITED_FIELDS)
    for name in NAMES:
        found |= {field for _, other, fields in classes(name) if other in {model, *MIXINS} for field in fields}
    return found


def xml_files(name) -> list[Path]:
    return [*(ADDONS / name).rglob("*.xml")]


def test_all_addons_but_the_first_install_themselves():
    assert [name for name in NAMES if not manifest(name).get("auto_install")] == ["aigen_image"]


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
            if record.find("field[@name='inherit_id']") is None:
                assert {child.tag for child in arch} <= VIEW_ROOTS, path
            if model.startswith("aigen."):  # of others, not all fields are known here
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


def part_of_the_addon(name) -> ModuleType:
    """A module of the addon's folder `bridge`, which needs no Odoo."""
    package, folder = "bridge_in_the_addon", ADDONS / "aigen_image" / "bridge"
    if package not in sys.modules:
        spec = importlib.util.spec_from_file_location(package, folder / "__init__.py")
        assert spec is not None
        sys.modules[package] = importlib.util.module_from_spec(spec)
    return importlib.import_module(f"{package}.{name}")


TEXT, FACTS, MONEY, SIZES, MODELS = map(part_of_the_addon, ("text", "facts", "money", "sizes", "catalogue"))


@given(st.text(alphabet=st.characters()) | st.text(alphabet="\u200b\ufe0f\u2800\u3164\u0301\x07 \U000e0100"))
def test_the_addon_and_the_bridge_agree_on_which_texts_show_nothing(text):
    assert TEXT.shows_nothing(text) == shows_nothing(text)


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
    assert FACTS.read_made(told) == {
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
        "cost_further": False,
    }


def test_the_addon_tells_the_bridge_the_version_of_its_manifest():
    source = (ADDONS / "aigen_image" / "bridge" / "client.py").read_text()
    assert f'ADDON = "{manifest("aigen_image")["version"]}"' in source


@given(
    amount=st.decimals(0, 10**6, places=9, allow_nan=False),
    per=st.sampled_from(list(PriceUnit)),
    width=st.integers(64, 4096),
    height=st.integers(64, 4096),
)
@example(amount=Decimal("0.000000005"), per=PriceUnit.MEGAPIXEL, width=500, height=1000)
def test_the_addon_and_the_bridge_calculate_the_same_price(amount, per, width, height):
    price = Price(amount=amount, currency="USD", per=per)
    told = {"amount": amount_text(amount), "currency": "USD", "per": per.value}
    mine = MONEY.read_price(told).of(f"{width}x{height}")
    assert MONEY.amount_text(mine) == amount_text(price.of(width, height).amount)


@given(st.lists(st.sampled_from(range(64, 2048, 64)), min_size=2, max_size=16))
def test_a_form_offers_only_sizes_that_the_bridge_takes_with_their_shape(sides):
    offered = [f"{width}x{height}" for width, height in pairwise(sides)]
    for shape, details in SIZES.sizes(offered).items():
        across, down = map(int, shape.split(":"))
        for resolution in details.values():
            width, height = map(int, resolution.split("x"))
            assert resolution in offered
            assert abs(width * down / (height * across) - 1) <= ASPECT_TOLERANCE


def test_without_a_list_of_the_model_every_usual_size_is_offered():
    assert SIZES.sizes() == SIZES.sizes([each for details in SIZES.SIZES.values() for each in details.values()])


@given(st.dictionaries(st.text(), JSON) | st.builds(lambda item: {"items": [item]}, JSON))
def test_whatever_a_bridge_lists_the_addon_reads_it(body):
    catalogue = MODELS.read_catalogue(body)
    assert catalogue is None or catalogue.offers == {}
    assert MONEY.read_budget(body) is None


@pytest.mark.parametrize(
    ("typed", "point", "amount"),
    [
        ("100", ".", "100.00"),
        ("1 000,5", ",", "1000.50"),
        ("0.035", ".", "0.035"),
        ("0.035", ",", "0.035"),
        ("1.50", ",", "1.50"),
        ("1.000", ",", None),
        ("1.000", ".", "1.00"),
        ("1,000.00", ".", None),
        ("1e3", ".", None),
        ("-1", ".", None),
        ("", ".", None),
    ],
)
def test_an_amount_is_understood_as_it_is_typed_or_not_at_all(typed, point, amount):
    assert MONEY.typed_amount(typed, point) == amount
