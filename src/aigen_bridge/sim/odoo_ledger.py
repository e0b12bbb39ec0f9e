"""Storage for the simulated Odoo's effects: in memory, or in a folder that survives kill -9."""

import json
import os
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


class Ledger:
    """An append-only list of effects, and their images by SHA-256.

    With a folder, an effect is on disk before `append` returns. A line that a crash left incomplete was never
    acknowledged and is dropped at the next start.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._images: dict[str, bytes] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self.entries: list[Entry] = self._load()

    def append(self, entry: Entry, image: bytes | None = None) -> None:
        """Stores an effect and its image."""
        if image is not None:
            self._keep_image(entry["image"]["sha256"], image)
        if self._folder is not None:
            with self._file(self._folder).open("ab") as file:
                file.write(json.dumps(entry).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        self.entries.append(entry)

    def image(self, sha256: str) -> bytes:
        """Returns a stored image. Raises KeyError or OSError when there is none."""
        return self._images[sha256] if self._folder is None else (self._folder / sha256).read_bytes()

    def _keep_image(self, sha256: str, image: bytes) -> None:
        if self._folder is None:
            self._images[sha256] = image
            return
        with (self._folder / sha256).open("wb") as file:
            file.write(image)
            file.flush()
            os.fsync(file.fileno())

    def _load(self) -> list[Entry]:
        if self._folder is None or not self._file(self._folder).exists():
            return []
        whole, _, torn = self._file(self._folder).read_bytes().rpartition(b"\n")
        if torn:
            os.truncate(self._file(self._folder), len(whole) + (1 if whole else 0))
        return [json.loads(line) for line in whole.splitlines()]

    def _file(self, folder: Path) -> Path:
        return folder / "effects.jsonl"
