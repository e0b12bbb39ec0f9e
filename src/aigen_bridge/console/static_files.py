"""Serves the script, the styles and the icon of the console."""

from fastapi import APIRouter
from fastapi.responses import Response

from aigen_bridge.console.assets import DIGEST, FILES
from aigen_bridge.console.errors import UnknownPageError
from aigen_bridge.console.route import ConsoleRoute

TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml", "txt": "text/plain"}
YEAR = 365 * 86400

router = APIRouter(prefix="/console/static", route_class=ConsoleRoute, include_in_schema=False)


@router.get("/{digest}/{name}")
async def static_file(digest: str, name: str) -> Response:
    """Returns a file. It may be kept forever under its own address; an address of another version has today's file."""
    content = FILES.get(name)
    if content is None:
        raise UnknownPageError(name)
    lifetime = f"public, max-age={YEAR}, immutable" if digest == DIGEST else "no-store"
    return Response(content, headers={"Cache-Control": lifetime}, media_type=TYPES[name.rpartition(".")[2]])
