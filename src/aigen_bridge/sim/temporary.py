"""Files at temporary URLs that expire, as AI services serve them."""

from dataclasses import dataclass
from uuid import uuid4

from starlette.responses import JSONResponse, Response

from aigen_bridge.sim.faults import FaultKind, Faults
from aigen_bridge.sim.simulator import Clock, Handler, Received

KINDS = frozenset({FaultKind.EXPIRED_URL, FaultKind.TRUNCATED_IMAGE})


@dataclass(frozen=True)
class _File:
    content: bytes
    media_type: str
    expires_at: float


class TemporaryFiles:
    """Keeps files in memory for `lifetime` seconds under random names."""

    def __init__(self, lifetime: float, clock: Clock) -> None:
        self._lifetime = lifetime
        self._clock = clock
        self._files: dict[str, _File] = {}

    def keep(self, content: bytes, media_type: str) -> str:
        """Stores a file and returns its name."""
        now = self._clock()
        self._files = {name: file for name, file in self._files.items() if file.expires_at > now}
        name = f"{uuid4().hex}.{media_type.removeprefix('image/')}"
        self._files[name] = _File(content, media_type, now + self._lifetime)
        return name

    def served(self, faults: Faults, place: str = "image") -> Handler:
        """Returns the handler of `GET …/{name}`, which responds with the file, or with 404 once it has expired."""

        async def handler(received: Received) -> Response:
            fault = faults.take(place, KINDS)
            file = self._files.get(received.request.path_params["name"])
            expired = fault is not None and fault.kind is FaultKind.EXPIRED_URL
            if file is None or file.expires_at <= self._clock() or expired:
                return JSONResponse({"detail": "File not found"}, 404)
            content = file.content if fault is None else file.content[: len(file.content) // 2]
            return Response(content, media_type=file.media_type)

        return handler
