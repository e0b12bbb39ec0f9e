"""Checks that the bridge's role may do what its statements do, on every table of the schema."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import text

from aigen_bridge.domain.errors import UnsuitableDatabaseError
from aigen_bridge.store.database import Database
from aigen_bridge.store.schema import requests

PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE")
"""Privileges needed on each table. Identity columns need none on their sequences."""


def _list(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


_TABLES = _list(sorted(requests.metadata.tables))

MISSING = f"""
    WITH tables AS (
        SELECT to_regclass(name) AS id, name FROM unnest(ARRAY[{_TABLES}]) AS t (name)
    ), needed AS (
        SELECT id, privilege FROM tables, unnest(ARRAY[{_list(PRIVILEGES)}]) AS p (privilege)
        UNION ALL SELECT to_regclass('alembic_version'), 'SELECT'
    ), elsewhere AS (
        SELECT c.relnamespace AS schema FROM tables JOIN pg_class AS c ON c.relname = name AND c.relkind IN ('r', 'p')
        WHERE to_regclass('requests') IS NULL GROUP BY c.relnamespace HAVING count(*) > 2
    )
    SELECT privileges || ' on ' || string_agg(CAST(id AS text), ', ') AS missing,
        format('GRANT %s ON %s TO %I', privileges, string_agg(CAST(id AS text), ', '), current_user) AS remedy
    FROM (
        SELECT id, string_agg(privilege, ', ') AS privileges
        FROM needed WHERE NOT has_table_privilege(id, privilege) GROUP BY id
    ) AS denied GROUP BY privileges
    UNION ALL
    SELECT 'all rows of ' || id || ' (it has row level security)',
        format('ALTER ROLE %I BYPASSRLS', current_user)
    FROM tables WHERE row_security_active(id) AND NOT COALESCE((
        SELECT bool_and(polpermissive) AND bool_or(
            polcmd = '*' AND pg_get_expr(polqual, id) = 'true'
                AND COALESCE(pg_get_expr(polwithcheck, id), 'true') = 'true'
        )
        FROM pg_policy WHERE polrelid = id
            AND EXISTS (SELECT FROM unnest(polroles) AS r (role) WHERE role = 0 OR pg_has_role(role, 'USAGE'))
    ), false)
    UNION ALL
    SELECT CASE WHEN has_schema_privilege(schema, 'USAGE')
            THEN format('the schema %I in its search_path, which is %s', nspname, current_setting('search_path'))
            ELSE format('USAGE on the schema %I of the tables', nspname) END,
        CASE WHEN has_schema_privilege(schema, 'USAGE')
            THEN format('ALTER ROLE %I SET search_path = %I', session_user, nspname)
            ELSE format('GRANT USAGE ON SCHEMA %I TO %I', nspname, current_user) END
    FROM elsewhere JOIN pg_namespace AS n ON n.oid = schema
"""  # noqa: S608 - constants of this package
"""Returns what the role lacks, and the statement that gives it. Returns nothing about tables that do not exist."""

NEEDED_TO_MIGRATE = f"""
    WITH path AS (
        SELECT n.oid, nspname FROM pg_namespace AS n
        WHERE nspname = ANY (string_to_array(replace(current_setting('search_path'), '"', ''), ', '))
            AND nspname = COALESCE(current_schema(), nspname)
    )
    SELECT format('GRANT USAGE, CREATE ON SCHEMA %I TO %I;', nspname, current_user)
    FROM path WHERE NOT has_schema_privilege(path.oid, 'CREATE') OR NOT has_schema_privilege(path.oid, 'USAGE')
    UNION ALL
    SELECT format('ALTER TABLE %s OWNER TO %I;', c.oid, current_user) FROM (
        SELECT to_regclass(name) AS oid FROM unnest(ARRAY['alembic_version', {_TABLES}]) AS t (name)
    ) AS c JOIN pg_class USING (oid) WHERE NOT pg_has_role(relowner, 'USAGE')
    UNION ALL
    SELECT format('ALTER ROLE %I SET search_path = public;', session_user) WHERE NOT EXISTS (SELECT FROM path)
"""  # noqa: S608 - constants of this package
"""Returns the statements that give the role what a migration needs."""

Lacking = Sequence[Any]
"""Rows of `MISSING`."""


def refuse_lacking(lacking: Lacking) -> None:
    """Raises `UnsuitableDatabaseError` that names everything that is missing, if anything is."""
    if not lacking:
        return
    raise UnsuitableDatabaseError(
        f"The role of AIGEN_DATABASE_URL lacks {'; '.join(missing for missing, _ in lacking)}. Requests would be "
        "accepted, but not carried out.",
        f"As the owner of the tables or a superuser: {' '.join(f'{remedy};' for _, remedy in lacking)}",
    )


async def refuse_missing_rights(database: Database) -> None:
    """Raises `UnsuitableDatabaseError` if the role lacks a right on an existing table."""
    async with database.reading() as connection:
        refuse_lacking((await connection.execute(text(MISSING))).all())
