"""Marks images."""

from datetime import timedelta
from pathlib import Path

from aigen_bridge.domain.provenance import MarkingMode, Origin


class Marker:
    """Marks images."""

    def __init__(
        self,
        *,
        mode: MarkingMode,
        certificate: Path | None,
        key: Path | None,
        timestamp_url: str | None,
        timeout: timedelta,
    ) -> None:
        self._mode = mode

    async def mark(self, content: bytes, image_format: str, origin: Origin) -> tuple[bytes, MarkingMode] | None:
        """Marks."""
        return None

    def close(self) -> None:
        """Stops."""
