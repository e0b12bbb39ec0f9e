"""XMP packets: how an image was made (ISO 16684-1; IPTC Photo Metadata Standard 2025.1).

A packet is scanned without building a tree, and edited as text: everything else in it stays byte for byte. It is
unreadable if it is not well-formed XML in UTF-8, has a DOCTYPE (entities may be bombs), is longer than `PACKET_MAX` or
contains no RDF.
"""

import html
import re
from collections.abc import Mapping
from typing import NamedTuple
from xml.parsers import expat

from aigen_bridge.domain.provenance import TRAINED_ALGORITHMIC_MEDIA, Origin
from aigen_bridge.domain.splice import Edit, spliced

PACKET_MAX = 2**20
"""Bytes. Scanning that many takes at most half a second."""

NAME_MAX = 200
"""Characters of the name of a model or of software."""

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_XMP = "http://ns.adobe.com/xap/1.0/"
_ROOT, _DESCRIPTION = f"{_RDF} RDF", f"{_RDF} Description"
_VALUES = {f"{_RDF} resource", f"{_RDF} value"}
"""Names are written as the parser reports them: namespace, space, local name."""

_SOURCE_TYPE, _AI_SYSTEM, _CREATOR_TOOL = f"{_IPTC} DigitalSourceType", f"{_IPTC} AISystemUsed", f"{_XMP} CreatorTool"
_TAGS = {
    _SOURCE_TYPE: "Iptc4xmpExt:DigitalSourceType",
    _CREATOR_TOOL: "xmp:CreatorTool",
    _AI_SYSTEM: "Iptc4xmpExt:AISystemUsed",
}
"""The properties that the bridge reads and writes."""

_GENERATED = re.compile(
    r"https?://cv\.iptc\.org/newscodes/digitalsourcetype/"
    r"(trainedAlgorithmicMedia|compositeWithTrainedAlgorithmicMedia|algorithmicMedia|compositeSynthetic)/?"
)
"""IPTC's terms for images that were generated, at least in part."""

_EMPTY = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">
</rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>""".encode()

_TOKEN = re.compile(rb"\s([^\s=]+)\s*=\s*(?:\"[^\"]*\"|'[^']*')|>")
"""An attribute in a start tag, or the tag's end."""
_DECLARATION = re.compile(rb"xmlns(:.*)?")


class _Property(NamedTuple):
    """A property of the image, and where its attribute or its element is in the packet."""

    name: str
    value: str
    begin: int
    end: int


class _Scan:
    """The properties in a packet that `_TAGS` names, and where its RDF ends (None: there is none).

    Only properties of the image itself count: those of a description directly in the RDF. Raises `expat.ExpatError`.
    """

    def __init__(self, packet: bytes) -> None:
        self.properties: list[_Property] = []
        self.end: int | None = None
        self._packet = packet
        self._path: list[str] = []
        self._open: tuple[int, int] | None = None  # where the property begins that is being read, and its depth
        self._value: list[str] = []
        self._parser = parser = expat.ParserCreate("UTF-8", " ")
        parser.ordered_attributes = parser.buffer_text = True
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._finish
        parser.CharacterDataHandler = self._value.append
        parser.StartDoctypeDeclHandler = _refuse_doctype
        parser.Parse(packet, True)  # noqa: FBT003 - the last part

    def _start(self, name: str, attributes: list[str]) -> None:
        named = list(zip(attributes[::2], attributes[1::2], strict=True))
        if self._open:
            self._value += [" ", *(value for key, value in named if key in _VALUES)]
        elif self._path[-1:] == [_ROOT] and name == _DESCRIPTION:
            self._read_attributes(named)
        elif self._path[-2:] == [_ROOT, _DESCRIPTION] and name in _TAGS:
            self._open = self._parser.CurrentByteIndex, len(self._path)
            self._value[:] = [value for key, value in named if key in _VALUES]
        self._path.append(name)

    def _read_attributes(self, named: list[tuple[str, str]]) -> None:
        if any(key in _TAGS for key, _ in named):
            _, spans = _start_tag(self._packet, self._parser.CurrentByteIndex)
            pairs = zip(named, spans, strict=True)
            self.properties += [_Property(key, value, *span) for (key, value), span in pairs if key in _TAGS]

    def _finish(self, name: str) -> None:
        self._path.pop()
        if self._open and self._open[1] == len(self._path):
            begin = self._open[0]
            self.properties.append(_Property(name, "".join(self._value), begin, self._end_of_element(begin)))
            self._open = None
        elif not self._open:
            at = self._parser.CurrentByteIndex
            if name == _ROOT and self._packet.startswith(b"</", at):
                self.end = at

    def _end_of_element(self, begin: int) -> int:
        end, _ = _start_tag(self._packet, begin)
        is_empty = self._packet[end - 2 : end] == b"/>"
        return end if is_empty else self._packet.index(b">", self._parser.CurrentByteIndex) + 1


def source_types(packet: bytes) -> tuple[str, ...]:
    """Returns the values of IPTC's `DigitalSourceType`, normally one URL. Empty if the packet is unreadable."""
    scan = _scanned(packet) if b"DigitalSourceType" in packet else None
    found = scan.properties if scan else []
    return tuple(url for p in found if p.name == _SOURCE_TYPE for url in p.value.split())


def read_properties(packet: bytes) -> Mapping[str, str]:
    """Returns the properties that `marked_packet` sets, by name such as `xmp:CreatorTool`.

    Empty if the packet is unreadable. The values come from outside.
    """
    scan = _scanned(packet)
    return {_TAGS[p.name]: " ".join(p.value.split()) for p in scan.properties} if scan else {}


def is_generated(source_type: str) -> bool:
    """Returns whether this is one of IPTC's terms for images that were generated, at least in part."""
    return _GENERATED.fullmatch(source_type) is not None


def marked_packet(existing: bytes | None, origin: Origin, software: str) -> bytes:
    """Returns a packet that says that the image was generated, and keeps everything else that an existing one says.

    Sets IPTC's `DigitalSourceType` to trainedAlgorithmicMedia, unless it says already that the image was generated, and
    `CreatorTool` and IPTC's `AISystemUsed` (the model) if they are missing. Replaces an unreadable packet.
    """
    wanted = {_SOURCE_TYPE: TRAINED_ALGORITHMIC_MEDIA, _CREATOR_TOOL: software, _AI_SYSTEM: origin.model or ""}
    names = {name: cleaned for name, value in wanted.items() if (cleaned := _cleaned(value))}
    packet, scan = existing, _scanned(existing) if existing else None
    if packet is None or scan is None:
        packet, scan = _EMPTY, _Scan(_EMPTY)
    kept = {p.name for p in scan.properties if _is_kept(p)}
    removed = [Edit(p.begin, p.end) for p in scan.properties if p.name in names and not _is_kept(p)]
    added = _description({name: value for name, value in names.items() if name not in kept})
    return spliced(packet, [*removed, Edit(scan.end or 0, scan.end or 0, added)])


def _scanned(packet: bytes) -> _Scan | None:
    """Returns None if the packet is unreadable."""
    if len(packet) > PACKET_MAX:
        return None
    try:
        scan = _Scan(packet.rstrip(b"\0"))  # some writers pad with zeros
    except expat.ExpatError:
        return None
    return None if scan.end is None else scan


def _refuse_doctype(*_: object) -> None:
    raise expat.ExpatError("a packet must not have a DOCTYPE")


def _start_tag(packet: bytes, begin: int) -> tuple[int, list[tuple[int, int]]]:
    """Returns where this start tag ends, and where its attributes are, without declarations of namespaces.

    Requires that the parser accepted the tag.
    """
    attributes: list[tuple[int, int]] = []
    for token in _TOKEN.finditer(packet, begin):
        if token[1] is None:
            return token.end(), attributes
        if not _DECLARATION.fullmatch(token[1]):
            attributes.append(token.span())
    raise ValueError(f"no start tag begins at byte {begin}")


def _is_kept(found: _Property) -> bool:
    if found.name == _SOURCE_TYPE:
        return any(map(is_generated, found.value.split()))
    return bool(found.value.strip())


def _cleaned(name: str) -> str:
    """Returns a name from outside on one line, without characters that XML forbids or nobody sees."""
    return "".join(filter(str.isprintable, " ".join(name.split())))[:NAME_MAX].strip()


def _description(properties: Mapping[str, str]) -> bytes:
    """Returns a description with these properties, which declares the namespaces that it uses. Empty without any."""
    if not properties:
        return b""
    lines = [f"  <{_TAGS[name]}>{html.escape(value)}</{_TAGS[name]}>\n" for name, value in properties.items()]
    namespaces = f'xmlns:rdf="{_RDF}" xmlns:xmp="{_XMP}" xmlns:Iptc4xmpExt="{_IPTC}"'
    return f' <rdf:Description rdf:about="" {namespaces}>\n{"".join(lines)} </rdf:Description>\n'.encode()
