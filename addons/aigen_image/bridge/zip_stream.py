"""Streams a ZIP while it is written. Neither the archive nor a whole file is held in memory."""

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


class _Buffer:
    """The bytes that `zipfile` has written and that are not sent yet. Not seekable, so `zipfile` never seeks back."""

    def __init__(self):
        self.chunks = []

    def write(self, data):  # pylint: disable=method-required-super
        self.chunks.append(bytes(data))
        return len(data)

    def flush(self):
        """Does nothing: `write` keeps no data back."""

    def take(self):
        chunks, self.chunks = self.chunks, []
        return b"".join(chunks)


def stream_zip(entries):
    """Yield the bytes of a ZIP with these entries, stored without compression: image formats are compressed already."""
    buffer = _Buffer()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for entry in entries:
            with archive.open(zipfile.ZipInfo(entry.name, entry.at.timetuple()[:6]), "w") as file:
                for chunk in entry.read(*entry.args):
                    file.write(chunk)
                    yield buffer.take()
        # leaving the block writes the table of contents
    yield buffer.take()
