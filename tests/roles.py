"""Roles that PostgreSQL asks for a password, unlike the owner of the test's database."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict


@dataclass(frozen=True)
class Role:
    """A role that may read and write the tables."""

    name: str
    owner_url: str

    def url(self, password: str) -> str:
        return f"{self.owner_url}{'&' if '?' in self.owner_url else '?'}user={self.name}&password={password}"

    def set_password(self, password: str) -> None:
        self.as_owner(f"ALTER ROLE {self.name} PASSWORD '{password}'")

    def as_owner(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.owner_url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


@contextmanager
def role_with_password(owner_url: str, password: str, suffix: str = "role") -> Iterator[Role]:
    """Creates a role of this database. Skips where the server's pg_hba.conf cannot be written."""
    role = Role(f"{conninfo_to_dict(owner_url)['dbname']}_{suffix}", owner_url)
    path = Path(role.as_owner("SHOW hba_file")[0][0])
    if not os.access(path, os.W_OK):
        pytest.skip("the server's pg_hba.conf cannot be written")
    role.as_owner(f"CREATE ROLE {role.name} LOGIN PASSWORD '{password}'")
    role.as_owner(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role.name}")
    kinds = (f"local all {role.name}", f"host all {role.name} 127.0.0.1/32", f"host all {role.name} ::1/128")
    rules = "".join(f"{kind} scram-sha-256\n" for kind in kinds)
    path.write_text(rules + path.read_text())
    role.as_owner("SELECT pg_reload_conf()")
    try:
        yield role
    finally:
        path.write_text(path.read_text().replace(rules, ""))
        role.as_owner("SELECT pg_reload_conf()")
        role.as_owner(f"DROP OWNED BY {role.name} CASCADE")
        role.as_owner(f"DROP ROLE {role.name}")
