"""TLS to PostgreSQL, with certificates of both sides, by the URL's parameters alone. Needs Debian's PostgreSQL."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import pytest
import trustme
from psycopg.conninfo import make_conninfo

from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.sockets import bind
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.migrations import check, migrate
from outages import rows


@pytest.fixture(scope="module")
def secured() -> Iterator[dict[str, str]]:
    """A server that takes only TLS with a client's certificate: the parameters with which a client reaches it."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
    if programs is None or not shutil.which("runuser"):
        pytest.skip("needs PostgreSQL's programs in /usr/lib/postgresql, built with TLS, and runuser")
    with TemporaryDirectory(prefix="aigen-tls-") as name, bind("127.0.0.1", 0) as free:
        folder, port = Path(name), free.getsockname()[1]
        files = _certificates(folder)
        data = folder / "data"
        shutil.chown(folder, "nobody")
        _as_nobody(str(programs / "initdb"), "-D", str(data), "-U", "aigen", "-E", "UTF8", "--locale=C", "--no-sync")
        (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 cert\n")
        options = {
            "ssl": "on", "ssl_cert_file": files["server"], "ssl_key_file": files["server"], "ssl_ca_file": files["ca"],
            "unix_socket_directories": "", "listen_addresses": "127.0.0.1", "port": str(port), "fsync": "off",
        }  # fmt: skip
        free.close()
        given = " ".join(f"-c {option}='{value}'" for option, value in options.items())
        control = [str(programs / "pg_ctl"), "-D", str(data), "-w", "-s", "-l", str(folder / "log")]
        _as_nobody(*control, "-o", given, "start")
        try:
            yield {
                "host": "127.0.0.1", "port": str(port), "dbname": "postgres", "user": "aigen", "sslmode": "verify-full",
                "sslrootcert": files["ca"], "sslcert": files["client"], "sslkey": files["client"],
            }  # fmt: skip
        finally:
            _as_nobody(*control, "-m", "immediate", "stop")


def _certificates(folder: Path) -> dict[str, str]:
    authority = trustme.CA()
    files = {name: folder / f"{name} 100%.pem" for name in ("ca", "server", "client")}
    authority.cert_pem.write_to_path(files["ca"])
    issued = {"server": authority.issue_cert("127.0.0.1"), "client": authority.issue_cert(common_name="aigen")}
    for name, certificate in issued.items():
        certificate.private_key_and_cert_chain_pem.write_to_path(files[name])
        files[name].chmod(0o600)
    shutil.chown(files["server"], "nobody")
    return {name: str(path) for name, path in files.items()}


def _as_nobody(*command: str) -> None:
    subprocess.run(["runuser", "-u", "nobody", "--", *command], check=True, stdout=subprocess.DEVNULL)  # noqa: S607


def _url(parameters: dict[str, str]) -> str:
    rest = "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())
    return f"postgresql:///?{rest}"


@pytest.mark.parametrize("form", [_url, lambda parameters: make_conninfo("", **parameters)], ids=["url", "keywords"])
async def test_certificates_of_both_sides_are_taken_from_the_url(secured: dict[str, str], form) -> None:
    url = form(secured)
    await asyncio.to_thread(migrate, url)
    await asyncio.to_thread(check, url)
    database = Database(open_engine(url, pool_size=1, name="test"))
    query = "SELECT ssl, client_dn LIKE '%/CN=aigen' FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    found = await rows(database, query)
    await database.close()
    assert found == [(True, True)]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"sslmode": "disable"}, "no encryption"),
        ({"sslrootcert": "/nonexistent"}, 'root certificate file "/nonexistent" does not exist'),
        ({"sslcert": "/nonexistent", "sslkey": "/nonexistent"}, "valid client certificate"),
    ],
)
def test_what_the_server_or_libpq_refuses_is_said(secured: dict[str, str], changed: dict[str, str], words: str) -> None:
    with pytest.raises(StoreUnavailableError, match=words):
        check(_url(secured | changed))
