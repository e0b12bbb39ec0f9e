"""Checks the image store: it answers, belongs to this database, and holds what it should.

Without `Subject.may_write`, it only reads and lists. What the key may write shows only when it writes.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from aigen_bridge.doctor.finding import Finding, Mark, NotLookedAtError, ok, spoken, warning, wrong
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.domain.errors import ImageStoreAwayError
from aigen_bridge.settings import ImageStoreSettings
from aigen_bridge.store.image_state import MOST, ImageStoreState
from aigen_bridge.store.images import OWNER, left_behind, not_ours

if TYPE_CHECKING:
    from aigen_bridge.clients.object_store import ObjectStore

ABOUT = "image store"
PROBES = "probe"
"""The folder of the objects that the doctor writes."""
LATE = timedelta(hours=1)
"""Objects that are to be deleted are deleted within minutes."""


async def look_at_image_store(subject: Subject) -> list[Finding]:
    """Images can be read from where they are."""
    if subject.settings is None:
        raise NotLookedAtError
    wanted, state = subject.settings.image_store, await subject.opened.image_store()
    if wanted.url is None:
        return [_without_store(state)]
    found = await _try(wanted, state, may_write=subject.may_write)
    return [found, *_doubts(state)] if found.mark is Mark.OK else [found]


def _without_store(state: ImageStoreState) -> Finding:
    if state.location is None:
        return ok(ABOUT, "Images are kept in PostgreSQL.")
    advice = "Set it again, for API and workers. To do without: 'aigen-bridge images move --to postgresql' first."
    return wrong(ABOUT, f"Images cannot be read: {left_behind(state.location)}.", advice)


async def _try(wanted: ImageStoreSettings, state: ImageStoreState, *, may_write: bool) -> Finding:
    from aigen_bridge.clients.object_store import ObjectStore  # noqa: PLC0415 - few have one
    from aigen_bridge.clients.object_store_errors import advise  # noqa: PLC0415 - few have one
    from aigen_bridge.clients.object_store_place import Credentials, Place  # noqa: PLC0415 - few have one

    place = Place(wanted.url or "", wanted.endpoint, wanted.region, wanted.timeout)
    objects = ObjectStore(place, Credentials(wanted.access_key_id, wanted.secret_access_key))
    try:
        owner = await objects.get(OWNER)
        await objects.names(PROBES)  # also finds out whether there is such a bucket
        if owner != state.token.encode() and not (owner is None and state.location is None):
            return _not_ours(place.url, state, owner)
        return await _written(objects) if may_write else _reachable(place.url, is_new=owner is None)
    except ImageStoreAwayError as error:
        found = f"{place.url} cannot be used: {error.reason}. New images are kept in PostgreSQL meanwhile."
        return wrong(ABOUT, found, advise(error))
    finally:
        objects.close()


def _not_ours(url: str, state: ImageStoreState, owner: bytes | None) -> Finding:
    reason = not_ours(url, state.location, owner)
    return wrong(ABOUT, f"It is not used: {reason}.", "New images are kept in PostgreSQL until this is settled.")


def _reachable(url: str, *, is_new: bool) -> Finding:
    first = " It holds no images yet." if is_new else ""
    return ok(ABOUT, f"{url} answers.{first} 'doctor --write' also tries to write there.")


async def _written(objects: "ObjectStore") -> Finding:
    """Writes an object, reads it, and deletes it."""
    key, content = f"{PROBES}/{uuid4()}", uuid4().bytes
    await objects.put(key, content)
    try:
        read = await objects.get(key)
    finally:
        await objects.delete([key])
    if read != content:
        return wrong(ABOUT, f"{objects.url} returns other bytes than were written.", "Look for a cache in between.")
    if await objects.get(key) is not None:
        advice = "Check that the key may delete objects, and that no rule holds them (object lock, immutability)."
        return wrong(ABOUT, f"{objects.url} accepts deletions, but does not carry them out.", advice)
    return ok(ABOUT, f"{objects.url} answers: an object was written, read, and deleted.")


def _doubts(state: ImageStoreState) -> Iterator[Finding]:
    if state.is_draining and state.location is None:
        found = "It is not used any more: all images were moved to PostgreSQL."
        advice = (
            "A day after the move, when the workers have deleted the objects, remove AIGEN_IMAGE_STORE__URL. "
            "To use the store again: 'aigen-bridge images move --to store'."
        )
        yield warning(ABOUT, found, advice)
    elif state.is_draining:
        found = "Its images are being moved to PostgreSQL, and new ones are kept there."
        advice = "Finish it: 'aigen-bridge images move --to postgresql'. To use the store again: '… move --to store'."
        yield warning(ABOUT, found, advice)
    elif state.waiting:
        found = f"Images that wait in PostgreSQL to be moved to the store: {_number(state.waiting)}."
        advice = "The workers move them. To do it now: 'aigen-bridge images move --to store'."
        yield warning(ABOUT, found, advice)
    if state.due_for and state.due_for > LATE:
        found = f"Objects that are to be deleted: {_number(state.due)}, the first of them for {spoken(state.due_for)}."
        advice = "Check that a worker runs, and with 'doctor --write' that its key may delete objects."
        yield warning(ABOUT, found, advice)


def _number(number: int) -> str:
    return f"{number}{' or more' if number >= MOST else ''}"
