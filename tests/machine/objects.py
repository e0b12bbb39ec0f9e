"""Images in an object store: in any order of writers, purges, sweeps and moves, none is lost and none is left."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, TypeVar
from uuid import UUID, uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import text

from aigen_bridge.domain.dead_letter import OperatorAction, RefusedCallback
from aigen_bridge.domain.errors import ImageStoreAwayError
from aigen_bridge.domain.image import ImageRef
from aigen_bridge.domain.retention import RetentionClass
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.image_garbage import QUARANTINED
from aigen_bridge.store.image_moves import ImageMoves
from aigen_bridge.store.image_places import PART_MIN, Target
from aigen_bridge.store.image_sweep import ImageSweep
from aigen_bridge.store.images import OWNER, ObjectImages
from aigen_bridge.store.outbox import _ADD_IMAGE, Outbox
from aigen_bridge.store.quarantine import Quarantine
from aigen_bridge.store.retention import Retention
from aigen_bridge.store.transitions import Deadlines, lock
from image_stores import days_pass
from stage import sqlalchemy_url

T = TypeVar("T")
Act = Callable[[], Awaitable[None]]

DEADLINES = Deadlines(callback=timedelta(minutes=10), image_url=timedelta(minutes=5))
OPERATOR = OperatorAction("test")
CLEAR = """
    TRUNCATE requests, quarantine, image_garbage, operations RESTART IDENTITY CASCADE;
    UPDATE image_store SET location = NULL, is_draining = false
"""
ACCEPT = text("""
    INSERT INTO requests (request_id, correlation_id, event, status, completed_at, delivered_at)
    VALUES (:request_id, gen_random_uuid(), '{}', 'cancelled', now(), now())
""")
KEEP = text("""
    UPDATE requests SET image = jsonb_build_object('sha256', CAST(:sha256 AS text)),
        provenance = jsonb_build_object('original_sha256', CAST(:sha256 AS text))
    WHERE request_id = :request_id AND image IS NULL
""")
MARK = text("""
    UPDATE requests SET image = jsonb_build_object('sha256', CAST(:sha256 AS text)),
        provenance = jsonb_build_object('original_sha256', CAST(:original AS text))
    WHERE request_id = :request_id AND image ->> 'sha256' = :before AND image_purged_at IS NULL
""")
OLD = text("""
    UPDATE requests SET delivered_at = now() - interval '40 days', updated_at = now() - interval '40 days'
    WHERE request_id = :request_id
""")
HANDLED = text("""
    UPDATE quarantine SET state = 'discarded', handled_at = now() - interval '40 days' WHERE id = :id AND state = 'open'
""")
NEXT_IS_SHARD = text("UPDATE image_store SET shard = -1, shard_due_at = now()")
"""The objects of quarantined callbacks are in the first part, and here those of all requests."""
REFERENCES = text("""
    SELECT request_id, image ->> 'sha256' AS sha256 FROM requests WHERE image IS NOT NULL AND image_purged_at IS NULL
    UNION SELECT request_id, provenance ->> 'original_sha256' FROM requests
        WHERE provenance IS NOT NULL AND image_purged_at IS NULL AND NOT provenance ? 'original_is_forgotten'
    UNION SELECT :quarantined, payload_sha256 FROM quarantine WHERE payload_sha256 IS NOT NULL
""")
IN_POSTGRESQL = text("""
    SELECT request_id, encode(sha256(content), 'hex') AS sha256 FROM images
    UNION SELECT request_id, encode(sha256(content), 'hex') FROM original_images
""")
IMAGES = text("""
    SELECT r.request_id, r.image ->> 'sha256', encode(sha256(i.content), 'hex')
    FROM images AS i JOIN requests AS r USING (request_id)
""")


class Memory:
    """Objects in memory. `before_put` and `after_put` act once, as others may while a call lasts.

    A listing may be older than what is there: `listed` are the keys as they were.
    """

    url = "memory://"

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.listed: list[str] | None = None
        self.is_away = False
        self.before_put: Act | None = None
        self.after_put: Act | None = None

    async def put(self, key: str, content: bytes) -> None:
        self._check()
        if key != OWNER and (act := self.before_put):
            self.before_put = None
            await act()
        self.objects[key] = content
        if key != OWNER and (act := self.after_put):
            self.after_put = None
            await act()

    async def get(self, key: str) -> bytes | None:
        self._check()
        return self.objects.get(key)

    async def delete(self, keys: Sequence[str]) -> None:
        self._check()
        for key in keys:
            self.objects.pop(key, None)

    async def names(self, prefix: str) -> list[str]:
        self._check()
        return [key for key in (self.objects if self.listed is None else self.listed) if key.startswith(prefix)]

    @property
    def images(self) -> set[str]:
        """The keys of all images."""
        return set(self.objects) - {OWNER}

    def _check(self) -> None:
        if self.is_away:
            raise ImageStoreAwayError("away")


@dataclass
class Writer:
    """A writer that has placed an image and has not committed yet. `content` is what it has to write itself."""

    ref: ImageRef
    content: bytes | None
    before: str | None = None
    keeps_original: bool = True


class Yard:
    """One event loop and one database for all examples."""

    def __init__(self, database_url: str) -> None:
        self._runner = asyncio.Runner()
        self.database = Database(open_engine(sqlalchemy_url(database_url), pool_size=4, name="machine"))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine to its end."""
        return self._runner.run(coroutine)

    def close(self) -> None:
        """Closes the connections and the event loop."""
        self.run(self.database.close())
        self._runner.close()


pick = st.integers(0, 3)
INNER = st.sampled_from(
    ["commit", "purge", "find", "take_listing", "claim", "finish", "start_draining", "start_filling"]
)


class ObjectsMachine(RuleBasedStateMachine):
    """`writers` and `claims` are what is under way. Two processes have an image store: `api` and `worker`."""

    def __init__(self, yard: Yard) -> None:
        super().__init__()
        self.yard, self.database = yard, yard.database
        self.memory = Memory()
        self.api, self.worker = (ObjectImages(self.database, self.memory) for _ in range(2))
        self.sweep, self.moves = ImageSweep(self.database, self.worker), ImageMoves(self.database, self.worker)
        self.retention = Retention(self.database, has_objects=True)
        self.quarantine = Quarantine(self.database, DEADLINES, self.api)
        self.requests: list[UUID] = []
        self.writers: list[Writer] = []
        self.claims: list[Any] = []
        self.letters: list[int] = []
        self.count = 0
        self.yard.run(self._clear())

    async def _clear(self) -> None:
        async with self.database.transaction() as connection:
            await connection.exec_driver_sql(CLEAR)

    # What happens.

    @rule(new=st.booleans(), number=pick)
    def place(self, *, new: bool, number: int) -> None:
        """A callback brings an image. A repeated one brings the same."""
        self.yard.run(self._place(number, new=new))

    @rule(number=pick)
    def commit(self, number: int) -> None:
        """A writer commits."""
        self.yard.run(self._commit(number))

    @rule()
    def find(self) -> None:
        """A worker lists the store."""
        self.yard.run(self._act("find", 0)())

    @rule()
    def delete(self) -> None:
        """A worker deletes what is due."""
        self.yard.run(self._act("delete", 0)())

    @rule(again=st.booleans())
    def abandon(self, *, again: bool) -> None:
        """A writer was killed before its commit, and a day later its object is due. Then it may be placed again."""
        self.yard.run(self._act("abandon", int(again))())

    @rule(number=pick, keeps=st.booleans())
    def mark(self, *, number: int, keeps: bool) -> None:
        """A worker marks an image."""
        self.yard.run(self._mark(number, keeps=keeps))

    @rule(number=pick, part=pick, inner=st.none() | INNER)
    def quarantine_callback(self, number: int, part: int, inner: str | None) -> None:
        """A callback cannot be used; some have the same payload."""
        if inner:
            self.memory.after_put = self._act(inner, number)
        self.yard.run(self._quarantine(part % 2))
        self.memory.after_put = None

    @rule(number=pick, name=INNER)
    def happen(self, number: int, name: str) -> None:
        """Something else happens."""
        self.yard.run(self._act(name, number)())

    @rule(number=pick, to=st.sampled_from(Target), inner=INNER, is_after=st.booleans())
    def move(self, *, number: int, to: Target, inner: str, is_after: bool) -> None:
        """A page is moved, and something else happens in the middle."""
        setattr(self.memory, "after_put" if is_after else "before_put", self._act(inner, number))
        self.yard.run(self._move(to))
        self.memory.before_put = self.memory.after_put = None

    @rule(days=st.sampled_from([0.05, 1.1]))
    def time_passes(self, days: float) -> None:
        """Time passes. Everything that was under way has ended, or was killed."""
        self.writers, self.claims, self.memory.is_away = [], [], False
        self.yard.run(days_pass(self.database, days))

    @rule(number=pick)
    def letter_ends(self, number: int) -> None:
        """A callback in quarantine is past its retention period."""
        self.yard.run(self._letter_ends(number))

    @rule()
    def go_away(self) -> None:
        """The store is away, or comes back."""
        self.memory.is_away = not self.memory.is_away

    # What must be so.

    @invariant()
    def no_image_is_lost(self) -> None:
        """Each image that something refers to is somewhere."""
        references, in_postgresql, images = self.yard.run(self._look())
        missing = {ref for ref in references - in_postgresql if ref.key not in self.memory.objects}
        assert not missing, missing
        assert [row for row in images if row[1] != row[2]] == []

    def teardown(self) -> None:
        """Days later, the store has exactly what something refers to, and PostgreSQL nothing."""
        self.memory.is_away, self.memory.listed = False, None
        self.writers, self.claims = [], []
        self.yard.run(self._settle())
        references, in_postgresql, _ = self.yard.run(self._look())
        assert in_postgresql == set()
        assert self.memory.images == {ref.key for ref in references}

    # How it happens.

    def _act(self, name: str, number: int) -> Act:
        async def act() -> None:
            try:
                await getattr(self, f"_{name}")(number)
            except ImageStoreAwayError:
                return

        return act

    async def _place(self, number: int, *, new: bool) -> None:
        if new or not self.requests:
            self.requests.append(UUID(int=uuid4().int & ~0xFF))
            async with self.database.transaction() as connection:
                await connection.execute(ACCEPT, {"request_id": self.requests[-1]})
        request_id = self.requests[-1 - number % len(self.requests)]
        await self._write(request_id, f"as it came {request_id}".encode())

    async def _abandon(self, again: int) -> None:
        self.writers, self.claims = [], []
        await self._place(0, new=True)
        await self._find(0)
        await days_pass(self.database, 1.1)
        self.writers = []
        if again:
            await self._place(0, new=False)

    async def _mark(self, number: int, *, keeps: bool) -> None:
        if self.requests:
            request_id = self.requests[-1 - number % len(self.requests)]
            async with self.database.reading() as connection:
                before = await connection.scalar(
                    text("SELECT image ->> 'sha256' FROM requests WHERE request_id = :id"), {"id": request_id}
                )
            self.count += 1
            if before:
                await self._write(request_id, f"marked {self.count}".encode(), before=before, keeps_original=keeps)

    async def _write(self, request_id: UUID, content: bytes, **more: Any) -> None:
        ref = ImageRef(request_id, hashlib.sha256(content).hexdigest())
        self.writers.append(Writer(ref, await self.api.place(ref, content), **more))

    async def _commit(self, number: int) -> None:
        if self.writers:
            writer = self.writers.pop(number % len(self.writers))
            row = {"request_id": writer.ref.request_id, "sha256": writer.ref.sha256, "content": writer.content}
            async with self.database.transaction() as connection:
                await lock(connection, [writer.ref.request_id])
                if writer.before is None:
                    applied = (await connection.execute(KEEP, row)).rowcount
                else:
                    applied = await self._commit_mark(connection, writer, row)
                if applied and writer.content is not None:
                    await connection.execute(_ADD_IMAGE, row)

    async def _commit_mark(self, connection: Any, writer: Writer, row: dict[str, Any]) -> int:
        original = hashlib.sha256(f"as it came {writer.ref.request_id}".encode()).hexdigest()
        applied = await connection.execute(MARK, row | {"before": writer.before, "original": original})
        if applied.rowcount:
            outbox = Outbox(self.database, DEADLINES, self.api, keeps_originals=writer.keeps_original)
            image = SimpleNamespace(sha256=writer.before)
            request: Any = SimpleNamespace(request_id=writer.ref.request_id, image=image)
            await outbox._make_room(connection, request, original)
        return int(applied.rowcount)

    async def _quarantine(self, part: int) -> None:
        self.count += 1
        refused = RefusedCallback(
            client="n8n",
            version="v2",
            request_id=None,
            error_code=f"reason_{self.count % 3}",
            error_detail="It cannot be used.",
            headers={},
            payload=bytes([part]) * PART_MIN,
        )
        self.letters.append(await self.quarantine.keep(refused))

    async def _letter_ends(self, number: int) -> None:
        if self.letters:
            async with self.database.transaction() as connection:
                await connection.execute(HANDLED, {"id": self.letters[number % len(self.letters)]})
            await self.retention.purge(RetentionClass.QUARANTINE, timedelta(days=30))

    async def _purge(self, number: int) -> None:
        if self.requests:
            async with self.database.transaction() as connection:
                await connection.execute(OLD, {"request_id": self.requests[number % len(self.requests)]})
            await self.retention.purge(RetentionClass.IMAGES, timedelta(days=30))

    async def _take_listing(self, _: int) -> None:
        self.memory.listed = list(self.memory.objects)

    async def _find(self, _: int) -> None:
        async with self.database.writing() as connection:
            await connection.execute(NEXT_IS_SHARD)
        await self.sweep.find()
        self.memory.listed = None

    async def _claim(self, _: int) -> None:
        await self.worker.objects()
        self.claims.append(await self.sweep._claim())

    async def _finish(self, number: int) -> None:
        if self.claims:
            await self.sweep._delete(self.memory, self.claims.pop(number % len(self.claims)))

    async def _delete(self, _: int) -> None:
        await self.sweep.delete()

    async def _start_draining(self, _: int) -> None:
        await self.moves.start(Target.POSTGRESQL, OPERATOR)

    async def _start_filling(self, _: int) -> None:
        await self.moves.start(Target.STORE, OPERATOR)

    async def _move(self, target: Target) -> None:
        walk = self.moves.walk(target)
        try:
            while await walk.next_page():
                pass
        except ImageStoreAwayError:
            return

    async def _settle(self) -> None:
        await self.moves.start(Target.STORE, OPERATOR)
        for store in (self.api, self.worker):
            await store.objects()
        for _ in range(5):
            await days_pass(self.database, 1.1)
            await self._move(Target.STORE)
            await self._find(0)
            while await self.sweep.delete():
                pass

    async def _look(self) -> tuple[set[ImageRef], set[ImageRef], list[Any]]:
        async with self.database.reading() as connection:
            references = {ImageRef(*row) for row in await connection.execute(REFERENCES, {"quarantined": QUARANTINED})}
            in_postgresql = {ImageRef(*row) for row in await connection.execute(IN_POSTGRESQL)}
            return references, in_postgresql, list(await connection.execute(IMAGES))
