"""A right that the bridge's role lacks is named with the statement that gives it, at the start and before any 202."""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import psycopg
import pytest

from aigen_bridge.domain.errors import StoreUnavailableError, UnsuitableDatabaseError
from aigen_bridge.store import schema
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.migrations import check, migrate
from aigen_bridge.store.readiness import prove_writable
from outages import rows
from stage import KEYS, REQUESTS, make_event, make_settings, serve_api, sqlalchemy_url


def do(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


@dataclass(frozen=True)
class Role:
    """A role that is not the owner of the tables. `url` connects as this role."""

    name: str
    url: str
    owner_url: str

    def given(self, *statements: str) -> None:
        """Executes the statements as superuser; `{role}` is the role."""
        do(self.owner_url, *(statement.replace("{role}", self.name) for statement in statements))


def role_for(database_url: str) -> Iterator[Role]:
    name = f"{urlsplit(database_url).path[1:]}_role"
    do(database_url, f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
    yield Role(name, f"{database_url}{'&' if '?' in database_url else '?'}user={name}&password=x", database_url)
    do(database_url, f"DROP OWNED BY {name} CASCADE", f"DROP ROLE {name}")


@pytest.fixture
def role(database_url: str) -> Iterator[Role]:
    """A role with all rights on the tables."""
    for role in role_for(database_url):
        role.given("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
        yield role


@pytest.fixture
def stranger(empty_database_url: str) -> Iterator[Role]:
    """A role without rights on an empty database."""
    yield from role_for(empty_database_url)


def test_a_role_without_rights_on_the_functions_of_pg_control_may_start(role: Role) -> None:
    """Managed and hardened servers take them away. Only AIGEN_DATABASE__LISTEN_URL needs one."""
    control = "EXECUTE ON FUNCTION pg_control_system()"
    role.given(f"REVOKE {control} FROM PUBLIC")
    check(sqlalchemy_url(role.url))
    role.given("REVOKE UPDATE ON outbox FROM {role}")
    with pytest.raises(UnsuitableDatabaseError, match="UPDATE on outbox"):
        check(sqlalchemy_url(role.url), listener_url=role.url)


LACKING = [
    ("REVOKE UPDATE ON outbox FROM {role}", "UPDATE on outbox", "GRANT UPDATE ON outbox TO {role};"),
    ("REVOKE INSERT, DELETE ON images FROM {role}", "INSERT, DELETE on images", "GRANT INSERT, DELETE ON images"),
    ("REVOKE SELECT ON alembic_version FROM {role}", "SELECT on alembic_version", "GRANT SELECT ON alembic_version"),
    (
        "REVOKE USAGE ON SCHEMA public FROM PUBLIC",
        "USAGE on the schema public",
        "GRANT USAGE ON SCHEMA public TO {role};",
    ),
    (
        "ALTER ROLE {role} SET search_path = nowhere",
        "schema public in its search_path, which is nowhere",
        "ALTER ROLE {role} SET search_path = public;",
    ),
    (
        "ALTER TABLE requests ENABLE ROW LEVEL SECURITY",
        "all rows of requests (it has row level security)",
        "ALTER ROLE {role} BYPASSRLS;",
    ),
]


async def test_each_missing_right_is_named_with_its_remedy_and_nothing_is_accepted(role: Role) -> None:
    check(sqlalchemy_url(role.url))
    for statement, _, _ in LACKING[:1]:
        role.given(statement)
    async with serve_api(make_settings(role.url)) as api:
        asking = await api.post(REQUESTS, json=make_event(), headers={"X-API-Key": KEYS["odoo"]})
        ready = await api.get("/health/ready")
    assert (asking.status_code, ready.status_code) == (503, 503)
    assert "UPDATE on outbox" in ready.json()["detail"]
    role.given(LACKING[0][2])
    for statement, lacking, remedy in LACKING:
        role.given(statement)
        with pytest.raises(UnsuitableDatabaseError) as raised:
            check(sqlalchemy_url(role.url))
        assert lacking in raised.value.detail
        assert remedy.replace("{role}", role.name) in raised.value.advice
        role.given(*raised.value.advice.partition(": ")[2].rstrip(";").split(";"))  # it is the remedy
        check(sqlalchemy_url(role.url))


async def test_a_new_table_is_covered_by_itself(role: Role) -> None:
    role.given("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}")
    with pytest.raises(UnsuitableDatabaseError) as raised:
        check(sqlalchemy_url(role.url))
    assert [name for name in schema.metadata.tables if name not in raised.value.detail] == []


@pytest.mark.parametrize("holder", ["PUBLIC", "{role}", "{role}_group"])
def test_row_level_security_that_admits_everything_is_no_obstacle(role: Role, holder: str) -> None:
    role.given("CREATE ROLE {role}_group", "GRANT {role}_group TO {role}")
    try:
        policy = f"CREATE POLICY all_rows ON outbox TO {holder} USING (true)"
        role.given("ALTER TABLE outbox ENABLE ROW LEVEL SECURITY", policy)
        check(sqlalchemy_url(role.url))
        role.given("CREATE POLICY some_rows ON outbox AS RESTRICTIVE USING (step = 'dispatch')")
        with pytest.raises(UnsuitableDatabaseError, match="all rows of outbox"):
            check(sqlalchemy_url(role.url))
    finally:
        role.given("DROP OWNED BY {role}_group", "DROP ROLE {role}_group")


async def test_a_right_that_is_taken_away_while_the_bridge_runs_is_no_bug(role: Role) -> None:
    database = Database(open_engine(sqlalchemy_url(role.url), pool_size=1, name="test"))
    await prove_writable(database)
    role.given("REVOKE SELECT ON outbox FROM {role}")
    with pytest.raises(StoreUnavailableError, match="aigen-bridge doctor") as raised:
        await rows(database, "SELECT count(*) FROM outbox")
    assert "permission denied for table outbox" in raised.value.reason
    with pytest.raises(StoreUnavailableError, match="SELECT on outbox"):
        await prove_writable(database)
    await database.close()


def refused(role: Role) -> UnsuitableDatabaseError:
    with pytest.raises(UnsuitableDatabaseError) as raised:
        migrate(sqlalchemy_url(role.url))
    return raised.value


def test_migrate_names_what_its_role_lacks(stranger: Role) -> None:
    role = stranger.name
    found = refused(stranger)
    assert "permission denied for schema public" in found.detail
    assert found.detail.endswith("Nothing was changed.")
    assert f"GRANT USAGE, CREATE ON SCHEMA public TO {role};" in found.advice

    stranger.given("ALTER ROLE {role} SET search_path = nowhere")
    assert f"ALTER ROLE {role} SET search_path = public;" in refused(stranger).advice
    stranger.given("ALTER ROLE {role} RESET search_path", "GRANT CREATE ON SCHEMA public TO {role}")

    migrate(sqlalchemy_url(stranger.owner_url), "0009")
    assert f"ALTER TABLE alembic_version OWNER TO {role};" in refused(stranger).advice
    stranger.given("GRANT SELECT ON alembic_version TO {role}")
    found = refused(stranger)
    assert "must be owner of table requests" in found.detail
    assert "It is still at revision 0009" in found.detail
    assert f"ALTER TABLE requests OWNER TO {role};" in found.advice

    stranger.given("ALTER ROLE {role} SET default_transaction_read_only = on")
    found = refused(stranger)
    assert "read-only" in found.detail
    assert "primary" in found.advice


def test_no_right_to_connect_is_named_at_the_start(role: Role) -> None:
    name = urlsplit(role.owner_url).path[1:]
    role.given(f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")
    with pytest.raises(UnsuitableDatabaseError) as raised:
        check(sqlalchemy_url(role.url))
    assert f'GRANT CONNECT ON DATABASE "{name}" TO "{role.name}";' in raised.value.advice
