"""Tests of the link to PostgreSQL: the effects of a silence on both sides, and the ways in which it ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from chaos.ground import survey
from silent_link import After, Link, linked

QUIET = 0.3
"""Seconds after which data that passes the link has certainly arrived."""


@dataclass
class Scene:
    """An echo server, the link before it, and the clients."""

    link: Link
    port: int
    heard: list[bytes] = field(default_factory=list)
    ended: int = 0
    """Number of connections of which the server saw the end."""
    clients: list["Client"] = field(default_factory=list)

    async def client(self) -> "Client":
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        return client

    async def echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            while line := await reader.readline():
                self.heard.append(line)
                writer.write(line)
            self.ended += 1


@dataclass
class Client:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, line: bytes) -> None:
        self.writer.write(line)

    async def hears(self) -> bytes:
        """Returns the next line; empty at the end of the connection."""
        async with asyncio.timeout(5):
            return await self.reader.readline()

    async def hears_nothing(self) -> bool:
        """Whether neither data nor an end of file arrives."""
        try:
            async with asyncio.timeout(QUIET):
                await self.reader.read(1)
        except TimeoutError:
            return True
        return False


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with _scene() as scene:
        yield scene


@asynccontextmanager
async def _scene() -> AsyncIterator[Scene]:
    with TemporaryDirectory() as folder:
        socket = Path(folder) / "socket"
        port = survey(Path(folder), apis=0).link
        async with linked(socket, port) as link:
            scene = Scene(link, port)
            server = await asyncio.start_unix_server(scene.echo, socket)
            yield scene
            server.close()
            for client in scene.clients:
                client.writer.close()


async def test_it_carries_both_directions_and_the_end(scene: Scene) -> None:
    client = await scene.client()
    client.send(b"one\n")
    assert await client.hears() == b"one\n"
    client.writer.close()
    async with asyncio.timeout(5):
        while not scene.ended:
            await asyncio.sleep(0.01)


async def test_silence_closes_nothing_and_passes_nothing_not_even_an_end(scene: Scene) -> None:
    client, leaving = await scene.client(), await scene.client()
    for each in (client, leaving):
        each.send(b"before\n")
        assert await each.hears() == b"before\n"
    scene.link.fall_silent()
    client.send(b"during\n")
    leaving.writer.close()
    newcomer = await scene.client()
    newcomer.send(b"new\n")
    assert await client.hears_nothing()
    assert await newcomer.hears_nothing()
    assert (scene.heard, scene.ended) == ([b"before\n"] * 2, 0)


async def test_a_link_that_resumes_brings_what_was_sent_meanwhile(scene: Scene) -> None:
    client = await scene.client()
    client.send(b"before\n")
    await client.hears()
    scene.link.fall_silent()
    client.send(b"during\n")
    assert await client.hears_nothing()
    scene.link.restore(After.RESUMED)
    assert await client.hears() == b"during\n"


async def test_a_link_that_is_closed_says_so_to_both_sides(scene: Scene) -> None:
    client = await scene.client()
    client.send(b"before\n")
    await client.hears()
    scene.link.fall_silent()
    client.send(b"during\n")
    assert await client.hears_nothing()
    scene.link.restore(After.CLOSED)
    assert await client.hears() == b""
    assert b"during\n" not in scene.heard


async def test_connections_can_stay_silent_for_good_while_new_ones_work(scene: Scene) -> None:
    client = await scene.client()
    client.send(b"before\n")
    await client.hears()
    scene.link.fall_silent()
    waiting = await scene.client()
    waiting.send(b"waited\n")
    scene.link.restore(After.SILENT)
    client.send(b"after\n")
    assert await waiting.hears() == b"waited\n"
    scene.link.fall_silent()
    scene.link.restore(After.RESUMED)  # ends a later silence; connections of the first one stay silent
    assert await client.hears_nothing()
    assert scene.ended == 0


async def test_a_server_that_is_down_is_an_end(tmp_path: Path) -> None:
    async with linked(tmp_path / "nothing", port := survey(tmp_path, apis=0).link):
        client = Client(*await asyncio.open_connection("127.0.0.1", port))
        assert await client.hears() == b""
        client.writer.close()
