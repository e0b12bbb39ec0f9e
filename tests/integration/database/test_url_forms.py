"""Every form of the database's URL leads to the database, for the pool as for the commands."""

import asyncio
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.migrations import check
from outages import rows

FORMS = {
    "keywords": "{keywords}",
    "sockets": "postgresql://{user}@{host}:{port}/{name}",
    "the second host": "postgresql://{user}@127.0.0.1:9,{host}:{port}/{name}",
    "hosts and ports as parameters": "postgresql:///{name}?user={user}&host=127.0.0.1,{host}&port=9,{port}",
    "a service": "postgresql:///?service=bridge",
    "a service among keywords": "service=bridge",
    "options and TLS": "postgresql://{user}@{host}:{port}/{name}?options=-cwork_mem%3D9MB&sslmode=prefer",
}


@pytest.mark.parametrize("form", FORMS)
async def test_a_form_of_the_url_connects(
    form: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(database_url) as connection:
        info = connection.info
        given = {"user": info.user, "host": info.host, "port": str(info.port), "dbname": info.dbname}
    service = {**given, "host": f"127.0.0.1,{given['host']}", "port": f"9,{given['port']}"}
    (tmp_path / "service").write_text("[bridge]\n" + "".join(f"{name}={value}\n" for name, value in service.items()))
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "service"))
    encoded = {name: quote(value, safe="") for name, value in given.items()}
    password = {name: value for name, value in conninfo_to_dict(database_url).items() if name == "password"}
    if password:
        monkeypatch.setenv("PGPASSWORD", str(password["password"]))
    url = FORMS[form].format(**encoded, name=encoded["dbname"], keywords=make_conninfo("", **given))

    database = Database(open_engine(url, pool_size=1, name="test"))
    await asyncio.to_thread(check, url)
    [found] = await rows(database, "SELECT current_database(), current_setting('lock_timeout')")
    await database.close()
    assert tuple(found) == (given["dbname"], "5s")
