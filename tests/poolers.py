"""Poolers in front of a database: a real PgBouncer, and a proxy that only drops the session settings."""

import asyncio
import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from itertools import cycle
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

ENCRYPTION_REQUESTS = (80877103, 80877104)
"""The codes of SSLRequest and GSSENCRequest, which a client may send before its startup message."""


@contextmanager
def pgbouncer(
    url: str,
    folder: Path,
    *modes: str,
    ignored: str = "options",
    size: int = 20,
    authentication: str = "auth_type = any",
) -> Iterator[dict[str, str]]:
    """Runs PgBouncer and yields a URL of the database for each pool mode. Skips where it is not installed."""
    if not (program := shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")):
        pytest.skip("pgbouncer is not installed")
    server = {"port": "5432", **conninfo_to_dict(url)}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    names = (name for name in ("host", "port", "dbname", "user", "password") if server.get(name))
    target = " ".join(f"{name}={server[name]}" for name in names)
    databases = "\n".join(f"{mode} = {target} pool_mode={mode}" for mode in modes)
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n{databases}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"{authentication}\nignore_startup_parameters = {ignored}\ndefault_pool_size = {size}\n"
    )
    socket_folder = Path(str(server.get("host", "")))
    user = socket_folder.owner() if socket_folder.is_absolute() else "nobody"
    owner = ["-u", user] if os.getuid() == 0 else []  # it does not run as root
    process = subprocess.Popen([program, "-q", *owner, folder / "pgbouncer.ini"], stderr=subprocess.DEVNULL)
    try:
        _until_open(port)
        yield {mode: f"postgresql://{server['user']}@127.0.0.1:{port}/{mode}" for mode in modes}
    finally:
        process.kill()
        process.wait()


def _until_open(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        with suppress(OSError), closing(socket.create_connection(("127.0.0.1", port))):
            return
        assert time.monotonic() < deadline
        time.sleep(0.02)


@asynccontextmanager
async def dropping_options(url: str, *, passes_statements: bool = True) -> AsyncIterator[str]:
    """Passes everything to the database but the session settings. Yields the URL of the database behind it.

    Unless `passes_statements`, a connection opens, and its statements get no answer.
    """
    with psycopg.connect(url) as connection:
        host, port, user, name = (getattr(connection.info, part) for part in ("host", "port", "user", "dbname"))

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened = asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}") if host[0] == "/" else None
        from_server, to_server = await (opened or asyncio.open_connection(host, port))
        with closing(writer), closing(to_server):
            to_server.write(await _startup(reader, writer))
            statements = [_copy(reader, to_server)] if passes_statements else []
            await asyncio.gather(*statements, _copy(from_server, writer))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"postgresql://{user}@127.0.0.1:{server.sockets[0].getsockname()[1]}/{name}"
    finally:
        server.close()


@asynccontextmanager
async def alternating(*urls: str) -> AsyncIterator[str]:
    """A load balancer: each connection goes to the next of these URLs, which differ only in their ports."""
    places = cycle([parameters["port"] for parameters in map(conninfo_to_dict, urls)])

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", next(places))
        with closing(writer), closing(to_server):
            await asyncio.gather(_copy(reader, to_server), _copy(from_server, writer))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = conninfo_to_dict(urls[0])["port"]
    try:
        yield urls[0].replace(f":{port}/", f":{server.sockets[0].getsockname()[1]}/")
    finally:
        server.close()


async def _startup(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Returns the startup message without `options`."""
    while True:
        (length,) = struct.unpack("!i", await reader.readexactly(4))
        body = await reader.readexactly(length - 4)
        if struct.unpack("!i", body[:4])[0] not in ENCRYPTION_REQUESTS:
            break
        writer.write(b"N")
    words = body[4:].rstrip(b"\0").split(b"\0")
    pairs = [pair for pair in zip(words[::2], words[1::2], strict=True) if pair[0] != b"options"]
    kept = body[:4] + b"".join(name + b"\0" + value + b"\0" for name, value in pairs) + b"\0"
    return struct.pack("!i", len(kept) + 4) + kept


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await source.read(2**16):
            target.write(chunk)
            await target.drain()
    target.close()
