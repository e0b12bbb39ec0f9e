"""XMP packets are read in every spelling, and edited without losing anything."""

import html
from datetime import UTC, datetime
from xml.etree import ElementTree as ET
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigen_bridge.domain.provenance import TRAINED_ALGORITHMIC_MEDIA, Origin
from aigen_bridge.domain.xmp import NAME_MAX, PACKET_MAX, is_generated, marked_packet, source_types

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
XMP = "http://ns.adobe.com/xap/1.0/"
TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
GENERATED, CAMERA = TERMS + "compositeWithTrainedAlgorithmicMedia", TERMS + "digitalCapture"
OURS = {f"{{{IPTC}}}DigitalSourceType", f"{{{IPTC}}}AISystemUsed", f"{{{XMP}}}CreatorTool"}
NAMESPACES = f'xmlns:r="{RDF}" xmlns:e="{IPTC}" xmlns:x="{XMP}" xmlns:o="urn:other"'


def rdf(body: str) -> bytes:
    return f"<r:RDF {NAMESPACES}>{body}</r:RDF>".encode()


def description(properties: str = "", attributes: str = "") -> bytes:
    return rdf(f"<r:Description {attributes}>{properties}</r:Description>")


def origin(model: str | None = "FLUX") -> Origin:
    return Origin(generated_at=datetime(2026, 8, 1, tzinfo=UTC), model=model)


def mark(packet: bytes | None, model: str | None = "FLUX") -> bytes:
    return marked_packet(packet, origin(model), "aigen-bridge")


def properties(packet: bytes) -> list[tuple[str, str]]:
    """The properties of the image as another parser reads them, sorted."""
    found = []
    root = ET.fromstring(packet.strip(b"\0"))  # noqa: S314 - packets of these tests
    for about in root.iter(f"{{{RDF}}}Description"):
        found += about.attrib.items()
        for element in about:
            found.append((element.tag, "".join(element.itertext()).strip() or element.get(f"{{{RDF}}}resource", "")))
    return sorted((name, value) for name, value in found if not name.startswith(f"{{{RDF}}}"))


SPELLINGS = {
    "attribute": description(attributes=f"e:DigitalSourceType='{GENERATED}'"),
    "attribute among others": description(
        attributes=f'o:a="e:DigitalSourceType=&apos;x&apos; >" e:DigitalSourceType = "{GENERATED}" o:b=""'
    ),
    "element": description(f"<e:DigitalSourceType>\n {GENERATED}\n</e:DigitalSourceType>"),
    "resource": description(f'<e:DigitalSourceType r:resource="{GENERATED}"/>'),
    "value": description(
        f'<e:DigitalSourceType r:parseType="Resource"><r:value>{GENERATED}</r:value></e:DigitalSourceType>'
    ),
    "value in a description": description(
        f'<e:DigitalSourceType><r:Description r:value="{GENERATED}"/></e:DigitalSourceType>'
    ),
    "list": description(f"<e:DigitalSourceType><r:Bag><r:li>{GENERATED}</r:li></r:Bag></e:DigitalSourceType>"),
    "character references": description(f"<e:DigitalSourceType>&#x68;{GENERATED[1:]}</e:DigitalSourceType>"),
    "CDATA": description(f"<e:DigitalSourceType><![CDATA[{GENERATED}]]></e:DigitalSourceType>"),
    "comment": description(f"<e:DigitalSourceType><!-- > -->{GENERATED}</e:DigitalSourceType >"),
    "other prefixes": description(f'<DigitalSourceType xmlns="{IPTC}">{GENERATED}</DigitalSourceType>'),
    "zeros behind it": description(attributes=f'e:DigitalSourceType="{GENERATED}"') + b"\0\0",
    "byte order mark": b"\xef\xbb\xbf" + description(attributes=f'e:DigitalSourceType="{GENERATED}"'),
}
"""One way each to write the same property."""


@pytest.mark.parametrize("packet", SPELLINGS.values(), ids=SPELLINGS)
def test_every_spelling_of_a_source_type_is_read(packet: bytes) -> None:
    assert source_types(packet) == (GENERATED,)


def test_several_source_types_are_told_apart() -> None:
    items = f"<r:Bag><r:li>{GENERATED}</r:li><r:li>{CAMERA}</r:li></r:Bag>"
    assert source_types(description(f"<e:DigitalSourceType>{items}</e:DigitalSourceType>")) == (GENERATED, CAMERA)


@pytest.mark.parametrize("packet", SPELLINGS.values(), ids=SPELLINGS)
def test_a_term_for_generated_images_stays(packet: bytes) -> None:
    marked = mark(packet)
    assert source_types(marked) == (GENERATED,)
    assert packet.rstrip(b"\0").removesuffix(b"</r:RDF>") in marked


@pytest.mark.parametrize("packet", SPELLINGS.values(), ids=SPELLINGS)
def test_any_other_term_is_replaced_however_it_is_spelled(packet: bytes) -> None:
    other = packet.replace(GENERATED.encode(), CAMERA.encode()).replace(GENERATED[1:].encode(), CAMERA[1:].encode())
    assert source_types(other) == (CAMERA,)
    marked = mark(other)
    assert source_types(marked) == (TRAINED_ALGORITHMIC_MEDIA,)
    assert CAMERA[1:].encode() not in marked
    others = [(name, value) for name, value in properties(other) if name not in OURS]
    assert [(name, value) for name, value in properties(marked) if name not in OURS] == others


@pytest.mark.parametrize(
    "term",
    ["trainedAlgorithmicMedia", "algorithmicMedia", "compositeSynthetic", "compositeWithTrainedAlgorithmicMedia"],
)
def test_terms_for_generated_images_are_known(term: str) -> None:
    assert is_generated(TERMS + term)
    assert is_generated(TERMS.replace("http:", "https:") + term)


@pytest.mark.parametrize(
    "other", [CAMERA, "", "trainedAlgorithmicMedia", GENERATED + "x", "http://example.com/?" + GENERATED]
)
def test_nothing_else_is_a_term_for_generated_images(other: str) -> None:
    assert not is_generated(other)


@pytest.mark.parametrize(
    "packet",
    [
        description(f"<o:ingredient><r:Description e:DigitalSourceType='{GENERATED}'/></o:ingredient>"),
        description(f"<o:in r:parseType='Resource'><e:DigitalSourceType>{GENERATED}</e:DigitalSourceType></o:in>"),
        description(f"<o:DigitalSourceType>{GENERATED}</o:DigitalSourceType>"),
        description(f"<!-- <e:DigitalSourceType>{GENERATED}</e:DigitalSourceType> -->"),
    ],
    ids=["ingredient", "ingredient as a resource", "another namespace", "comment"],
)
def test_a_source_type_of_something_else_is_not_that_of_the_image(packet: bytes) -> None:
    assert source_types(packet) == ()
    assert source_types(mark(packet)) == (TRAINED_ALGORITHMIC_MEDIA,)
    assert packet.rstrip(b"\0").removesuffix(b"</r:RDF>") in mark(packet)


BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
UNREADABLE = {
    "empty": b"",
    "no XML": b"DigitalSourceType",
    "cut off": SPELLINGS["element"][:-1],
    "twice the same attribute": description(attributes='e:DigitalSourceType="" e:DigitalSourceType=""'),
    "bytes behind the end": SPELLINGS["element"] + b"x",
    "DOCTYPE": BOMB + SPELLINGS["element"],
    "DOCTYPE elsewhere": b'<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x">' + SPELLINGS["element"],
    "entity": description("<e:DigitalSourceType>&b;</e:DigitalSourceType>"),
    "UTF-16": SPELLINGS["element"].decode().encode("utf-16"),
    "not UTF-8": description("<o:x>\u00e9</o:x>").decode().encode("latin-1"),
    "no RDF": b"<e:DigitalSourceType xmlns:e='urn:x'/>",
    "nothing in the RDF": f"<r:RDF {NAMESPACES}/>".encode(),
    "too long": description("<e:DigitalSourceType/>" + " " * PACKET_MAX),
}


@pytest.mark.parametrize("packet", UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_packet_says_nothing_and_is_replaced(packet: bytes) -> None:
    assert source_types(packet) == ()
    assert mark(packet) == mark(None)


def test_a_new_packet_says_what_the_standard_asks_for() -> None:
    assert dict(properties(mark(None))) == {
        f"{{{IPTC}}}DigitalSourceType": TRAINED_ALGORITHMIC_MEDIA,
        f"{{{IPTC}}}AISystemUsed": "FLUX",
        f"{{{XMP}}}CreatorTool": "aigen-bridge",
    }
    assert f"{{{IPTC}}}AISystemUsed" not in dict(properties(mark(None, None)))


def test_names_that_are_there_stay_unless_they_are_empty() -> None:
    kept = description("<x:CreatorTool>Theirs</x:CreatorTool>", 'e:AISystemUsed="Their model"')
    assert dict(properties(mark(kept)))[f"{{{XMP}}}CreatorTool"] == "Theirs"
    assert dict(properties(mark(kept)))[f"{{{IPTC}}}AISystemUsed"] == "Their model"
    empty = description("<x:CreatorTool/>", 'e:AISystemUsed=" "')
    assert [name for name, _ in properties(mark(empty))] == sorted(OURS)


@given(model=st.text(max_size=300))
def test_the_name_of_a_model_cannot_break_out_of_its_property(model: str) -> None:
    written = dict(properties(mark(None, model)))
    assert len(written) == 3 if any(c.isprintable() and c != " " for c in model) else 2
    name = written.get(f"{{{IPTC}}}AISystemUsed", "")
    assert name.isprintable()
    assert len(name) <= NAME_MAX


def test_a_hostile_name_of_a_model_is_written_as_text() -> None:
    hostile = "\u202e</e:x>&amp;\"'\0\n\x1b[31m<!--\ud800"
    assert dict(properties(mark(None, hostile)))[f"{{{IPTC}}}AISystemUsed"] == "</e:x>&amp;\"' [31m<!--"


@given(packet=st.binary(max_size=200))
def test_any_bytes_are_a_packet_or_none_and_never_an_error(packet: bytes) -> None:
    assert source_types(packet) == ()
    assert mark(packet) == mark(None)


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=20)
VALUE = st.one_of(TEXT, st.sampled_from([GENERATED, CAMERA, "", " "]))
NAME = st.sampled_from(["e:DigitalSourceType", "e:AISystemUsed", "x:CreatorTool", "e:Event", "o:a", "o:b", "o:c"])


def element(name: str, value: str, spelling: int) -> str:
    text = html.escape(value)
    return (
        f"<{name}>{text}</{name}>",
        f'<{name} r:resource="{text}" />',
        f"<{name}\n\tr:parseType='Resource'><r:value>{text}</r:value></{name} >",
        f"<!--{name}--><{name}/>",
    )[spelling]


ELEMENTS = st.lists(st.builds(element, NAME, VALUE, st.integers(0, 3)), max_size=5).map("\n".join)
ATTRIBUTES = st.dictionaries(NAME, VALUE, max_size=4).map(
    lambda named: "\r\n".join(f"{name}\t= {quoteattr(value)}" for name, value in named.items())
)
DESCRIPTION = st.one_of(
    st.builds("<r:Description {}>{}</r:Description>".format, ATTRIBUTES, ELEMENTS),
    st.builds("<r:Description xmlns:y='>' {}/>".format, ATTRIBUTES),
    st.builds("<r:Description><o:in><r:RDF><r:Description {}/></r:RDF></o:in></r:Description>".format, ATTRIBUTES),
)
PACKET = st.lists(DESCRIPTION, max_size=4).map("\n".join).map(rdf)


@given(packet=PACKET)
def test_any_packet_is_marked_once_and_keeps_everything_else(packet: bytes) -> None:
    marked = mark(packet)
    assert all(map(is_generated, source_types(marked)))
    assert source_types(marked)
    assert mark(marked) == marked
    others = [(name, value) for name, value in properties(packet) if name not in OURS]
    assert [(name, value) for name, value in properties(marked) if name not in OURS] == others
    assert {name for name, _ in properties(marked)} >= OURS
