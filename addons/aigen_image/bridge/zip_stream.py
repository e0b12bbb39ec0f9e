"""A ZIP that is sent while it is being made: neither it nor any of its files is in memory as a whole."""

import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import NamedTuple


class Entry(NamedTuple):
    name: str
    at: datetime
    read: Callable[..., Iterator[bytes]]
    """Yields the content in chunks."""
    args: tuple = ()


class _Outbox:
    """What `zipfile` has written and nobody has taken yet. It cannot be rewound."""

    def __init__(self):
        self.chunks = []

    def write(self, data):  # pylint: disable=method-required-super  # it is no model
        self.chunks.append(bytes(data))
        return len(data)

    def flush(self):
        """Nothing is held back."""

    def take(self):
        chunks, self.chunks = self.chunks, []
        return b"".join(chunks)


def stream_zip(entries):
    """Yield the bytes of a ZIP of these entries. Nothing is compressed: pictures are already."""
    outbox = _Outbox()
    with zipfile.ZipFile(outbox, "w", zipfile.ZIP_STORED) as archive:
        for entry in entries:
            with archive.open(zipfile.ZipInfo(entry.name, entry.at.timetuple()[:6]), "w") as file:
                for chunk in entry.read(*entry.args):
                    file.write(chunk)
                    yield outbox.take()
        # leaving the block writes the table of contents
    yield outbox.take()
