"""Runs the image as docker-compose.yml does, with deploy/secrets.sh's secrets, and has it take one request."""
# ruff: noqa: INP001, S603 - a folder of scripts, which start ours

import json
import subprocess
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import httpx
import yaml
from containers import Containers, Service
from engine import Docker
from postgres import postgres
from waiting import free_port, seconds, until

from aigen_bridge.contracts.examples import REQUEST_ID, REQUESTED

NOWHERE = "http://127.0.0.1:9"
"""Neither N8N nor Odoo is here: what the worker does about that shows that it works."""
ENVIRONMENT = {"AIGEN_N8N__WEBHOOK_URL": NOWHERE, "AIGEN_ODOO__URL": NOWHERE, "AIGEN_PUBLIC_URL": NOWHERE}
REQUESTS = "/api/v1/influencegen/ai-image-requests"


def prove(docker: Docker, image: str, root: Path, folder: Path) -> dict[str, str]:
    """Everything that was found out, by name. Raises `ProofFailedError`, `subprocess.CalledProcessError`."""
    services = yaml.safe_load((root / "docker-compose.yml").read_text())["services"]
    secrets = _secrets(root / "deploy/secrets.sh", folder)
    with (
        postgres(root / "deploy/postgres/init.sh", secrets) as database_port,
        closing(Containers(docker, image, secrets, ENVIRONMENT)) as containers,
    ):
        url = secrets / "AIGEN_DATABASE_URL"
        url.write_text(url.read_text().replace("@postgres/", f"@127.0.0.1:{database_port}/"))
        facts = {"image": image, "size": _size(docker, image)}
        facts |= _migrate(containers, services["migrate"])
        facts |= _worker(containers, services["worker"])
        facts |= _api(containers, services["api"], _image_check(docker, image), secrets / "client_key_odoo")
        facts["memory"] = f"api {containers.memory('api')}, worker {containers.memory('worker')}"
        facts["stop"] = f"api {containers.stop('api')}, worker {containers.stop('worker')}"
    return facts


def _secrets(script: Path, folder: Path) -> Path:
    secrets = folder / "secrets"
    subprocess.run([script, secrets], check=True, capture_output=True, text=True)
    (secrets / "AIGEN_ODOO__API_KEY").write_text("what a person fills in")
    return secrets


def _size(docker: Docker, image: str) -> str:
    size = int(docker("image", "inspect", "--format={{.Size}}", image))
    layers = docker("history", "--no-trunc", "--human=false", "--format={{.Size}} {{.CreatedBy}}", image)
    ours = next(int(line.split()[0]) for line in layers.splitlines() if "COPY /opt/aigen-bridge" in line)
    return f"{size / 1e6:.0f} MB, the service with its packages {ours / 1e6:.0f} MB of it"


def _migrate(containers: Containers, service: Service) -> dict[str, str]:
    return {"migrate": f"exit status 0 after {seconds(lambda: containers.run(service, 'migrate')):.1f} s"}


def _worker(containers: Containers, service: Service) -> dict[str, str]:
    containers.start("worker", service, ["worker"], service["healthcheck"]["test"][1:])
    return {"worker": containers.healthy("worker")}


def _image_check(docker: Docker, image: str) -> list[str]:
    check: list[str] = json.loads(docker("image", "inspect", "--format={{json .Config.Healthcheck.Test}}", image))
    return check[1:]


def _api(containers: Containers, service: Service, check: list[str], key: Path) -> dict[str, str]:
    port = free_port()
    command = ["serve", "--host", "127.0.0.1", "--port", str(port)]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"X-API-Key": key.read_text()}) as http:

        def start() -> None:
            containers.start("api", service, command, [word.replace("8000", str(port)) for word in check])
            until(lambda: _ready(http), "the API is ready")

        whole = seconds(start)
        own = (datetime.now(UTC) - containers.started_at("api")).total_seconds()
        return {
            "start to ready": f"{whole:.1f} s from docker run, {own:.1f} s of it the service's own",
            "api": containers.healthy("api"),
            "user": containers.inside("api", "id"),
            "root file system": containers.root_file_system("api"),
            "a request": _request(http),
        }


def _ready(http: httpx.Client) -> bool:
    try:
        return http.get("/health/ready").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _request(http: httpx.Client) -> str:
    """It is taken, and the worker does with it what it must when N8N is away."""
    answer = http.post(REQUESTS, json=REQUESTED)
    answer.raise_for_status()

    def held() -> Mapping[str, str] | None:
        resource = http.get(f"{REQUESTS}/{REQUEST_ID}").raise_for_status().json()
        return resource["held"]

    until(lambda: held() is not None, "the worker holds the request, because N8N is away")
    return f"answered {answer.status_code}, then held (there is no N8N here)"
