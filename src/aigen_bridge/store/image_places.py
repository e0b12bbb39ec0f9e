"""The places in PostgreSQL where bytes may be that belong in the object store, and how they get there and back."""

# ruff: noqa: S608 - constants of this module

from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, text

from aigen_bridge.store.image_garbage import HAS_ORIGINAL, QUARANTINED

PART_MIN = 16 * 1024
"""Bytes. A smaller part of a quarantined callback is always kept in PostgreSQL."""


class Target(StrEnum):
    """A destination of `images move`."""

    STORE = "store"
    POSTGRESQL = "postgresql"


@dataclass(frozen=True, slots=True)
class Direction:
    """The statements that move images of one place in one direction.

    `page` selects `position`, `request_id` and `sha256` of at most `:limit` images behind `:after`. `count` selects
    `images` and `size`. `switch` changes the row of the image at `:position` if it still has `:sha256`.
    """

    page: TextClause
    count: TextClause
    switch: TextClause


@dataclass(frozen=True, slots=True)
class ImagePlace:
    """A column with bytes. `called` is its image for people, `first` the position before all others.

    `read` selects the bytes at `:position` unless those with another hash than `:sha256` belong there by now.
    `must_exist`: the bytes must be somewhere. `is_only_reference`: nothing else may refer to the same object.
    """

    called: str
    first: Any
    read: TextClause
    to_store: Direction
    to_postgresql: Direction
    must_exist: bool = True
    is_only_reference: bool = True

    def to(self, target: Target) -> Direction:
        """Returns how images are moved there."""
        return self.to_store if target is Target.STORE else self.to_postgresql


_NOT_NOTED = "NOT EXISTS (SELECT FROM image_garbage AS g WHERE g.request_id = {id} AND g.sha256 = {sha256})"


def _to_store(found: str, position: str, request_id: str, sha256: str, size: str, switch: str) -> Direction:
    """`found` is a FROM and WHERE clause.

    The page deletes the notes of its objects that no worker has claimed, and leaves out images whose object is claimed:
    those move a day after its deletion.
    """
    claimed = f"""NOT EXISTS (SELECT FROM image_garbage AS g
        WHERE g.request_id = {request_id} AND g.sha256 = {sha256} AND g.claimed_at IS NOT NULL)"""
    page = f"""
        WITH page AS (
            SELECT {position} AS position, {request_id} AS request_id, {sha256} AS sha256
            FROM {found} AND {position} > :after AND {claimed} ORDER BY {position} LIMIT :limit
        ), kept AS (
            DELETE FROM image_garbage AS g USING page AS p
            WHERE g.request_id = p.request_id AND g.sha256 = p.sha256 AND g.claimed_at IS NULL
        )
        SELECT position, request_id, sha256 FROM page ORDER BY position
    """
    count = f"SELECT count(*) AS images, coalesce(sum({size}), 0) AS size FROM {found}"
    unless_noted = _NOT_NOTED.format(id=":request_id", sha256=":sha256")
    return Direction(text(page), text(count), text(f"{switch} AND {unless_noted}"))


def _to_postgresql(found: str, position: str, request_id: str, sha256: str, switch: str) -> Direction:
    page = f"""
        SELECT {position} AS position, {request_id} AS request_id, {sha256} AS sha256
        FROM {found} AND {position} > :after ORDER BY {position} LIMIT :limit
    """
    return Direction(text(page), text(f"SELECT count(*) AS images, 0 AS size FROM {found}"), text(switch))


_IS_CURRENT = "r.request_id = :position AND r.image_purged_at IS NULL AND r.image ->> 'sha256' = :sha256"
_HAS_THIS_ORIGINAL = f"r.request_id = :position AND {HAS_ORIGINAL} AND r.provenance ->> 'original_sha256' = :sha256"

_IMAGES = ImagePlace(
    called="the image of request {}",
    first=UUID(int=0),
    read=text(f"SELECT content FROM images AS i JOIN requests AS r USING (request_id) WHERE {_IS_CURRENT}"),
    to_store=_to_store(
        "images AS i JOIN requests AS r USING (request_id) WHERE r.image_purged_at IS NULL AND r.image IS NOT NULL",
        *("r.request_id", "r.request_id", "r.image ->> 'sha256'", "octet_length(i.content)"),
        f"""DELETE FROM images AS i USING requests AS r WHERE i.request_id = r.request_id AND {_IS_CURRENT}""",
    ),
    to_postgresql=_to_postgresql(
        """requests AS r WHERE r.image IS NOT NULL AND r.image_purged_at IS NULL
            AND NOT EXISTS (SELECT FROM images AS i WHERE i.request_id = r.request_id)""",
        *("r.request_id", "r.request_id", "r.image ->> 'sha256'"),
        f"""INSERT INTO images (request_id, content)
            SELECT r.request_id, CAST(:content AS bytea) FROM requests AS r WHERE {_IS_CURRENT}
            ON CONFLICT DO NOTHING""",
    ),
)

_ORIGINALS = ImagePlace(
    called="the original image of request {}",
    first=UUID(int=0),
    read=text("SELECT content FROM original_images WHERE request_id = :position AND sha256 = :sha256"),
    to_store=_to_store(
        "original_images AS o JOIN requests AS r USING (request_id) WHERE r.image_purged_at IS NULL",
        *("o.request_id", "o.request_id", "o.sha256", "octet_length(o.content)"),
        "DELETE FROM original_images AS o WHERE o.request_id = :position AND o.sha256 = :sha256",
    ),
    to_postgresql=_to_postgresql(
        f"""requests AS r WHERE {HAS_ORIGINAL}
            AND r.provenance ->> 'original_sha256' IS DISTINCT FROM r.image ->> 'sha256'
            AND NOT EXISTS (SELECT FROM original_images AS o WHERE o.request_id = r.request_id)""",
        *("r.request_id", "r.request_id", "r.provenance ->> 'original_sha256'"),
        f"""INSERT INTO original_images (request_id, sha256, content)
            SELECT r.request_id, CAST(:sha256 AS text), CAST(:content AS bytea)
            FROM requests AS r WHERE {_HAS_THIS_ORIGINAL}
            ON CONFLICT DO NOTHING""",
    ),
    must_exist=False,  # an older version forgot originals without a word
)


def _part(column: str, called: str) -> ImagePlace:
    """A part of a quarantined callback, in this column or the object with the hash in the one beside it."""
    sha256 = f"encode(sha256(q.{column}), 'hex')"
    no_request = f"CAST('{QUARANTINED}' AS uuid)"
    return ImagePlace(
        called=called,
        first=0,
        read=text(f"SELECT {column} FROM quarantine AS q WHERE id = :position AND {sha256} = :sha256"),
        to_store=_to_store(
            f"quarantine AS q WHERE octet_length(q.{column}) >= {PART_MIN}",
            *("q.id", no_request, sha256, f"octet_length(q.{column})"),
            f"""UPDATE quarantine AS q SET {column} = ''::bytea, {column}_sha256 = :sha256
                WHERE q.id = :position AND q.{column}_sha256 IS NULL""",
        ),
        to_postgresql=_to_postgresql(
            f"quarantine AS q WHERE q.{column}_sha256 IS NOT NULL",
            *("q.id", no_request, f"q.{column}_sha256"),
            f"""UPDATE quarantine AS q SET {column} = :content, {column}_sha256 = NULL
                WHERE q.id = :position AND q.{column}_sha256 = :sha256""",
        ),
        is_only_reference=False,
    )


PLACES = (
    _IMAGES,
    _ORIGINALS,
    _part("payload", "the payload of callback-{}"),
    _part("image", "the image of callback-{}"),
)
