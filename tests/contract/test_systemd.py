"""The systemd units of deploy/systemd, and nginx in front of them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import trustme
from test_deployment import ROOT, SERVICES, _tool, _variables

from aigen_bridge.settings import DatabaseSettings, Settings

FOLDER = ROOT / "deploy/systemd"
ALL_UNITS = sorted(path.name for path in FOLDER.glob("*.service"))
BACKUP = "aigen-bridge-backup.service"
UNITS = [name for name in ALL_UNITS if name != BACKUP]
"""Those that run the bridge."""
EXPOSURE_MAX = 25
"""Tenths of what `systemd-analyze security` calls OK below 50."""

with_systemd = pytest.mark.skipif(not _tool("systemd-analyze"), reason="systemd-analyze is not installed")


def loaded(unit: str) -> set[str]:
    """The secrets that a unit gets."""
    pairs = re.findall(
        r"^LoadCredential=(\w+):/etc/aigen-bridge/secrets/(\w+)$", (FOLDER / unit).read_text(), re.MULTILINE
    )
    assert all(name == file for name, file in pairs)
    return {name for name, _ in pairs}


def in_file() -> set[str]:
    return set(re.findall(r"^(AIGEN_\w+)=", (FOLDER / "bridge.env").read_text(), re.MULTILINE))


@pytest.fixture
def units(tmp_path: Path) -> dict[str, Path]:
    """The units as installed, with a program that exists."""
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    program = Path(sys.executable).parent / "aigen-bridge"
    for name in ALL_UNITS:
        text = (FOLDER / name).read_text().replace("/opt/aigen-bridge/bin/aigen-bridge", str(program))
        text = text.replace("/usr/local/lib/aigen-bridge/backup.sh", str(ROOT / "deploy/backup.sh"))
        (tmp_path / name.replace("@", "@1")).write_text(text)
    return {name: tmp_path / name.replace("@", "@1") for name in ALL_UNITS}


def analyze(units: dict[str, Path], *arguments: str) -> subprocess.CompletedProcess[str]:
    path = {"SYSTEMD_UNIT_PATH": f"{next(iter(units.values())).parent}:", "PATH": "/usr/bin:/bin"}
    command = [str(_tool("systemd-analyze")), *arguments]
    return subprocess.run(command, env=path, check=False, capture_output=True, text=True)


@with_systemd
def test_systemd_has_nothing_to_say_about_the_units(units: dict[str, Path]) -> None:
    timer = units[BACKUP].with_suffix(".timer")
    done = analyze(units, "verify", "--man=no", *map(str, units.values()), str(timer))
    assert (done.stderr, done.returncode) == ("", 0)


@with_systemd
def test_every_unit_is_hardened_by_what_they_have_in_common(units: dict[str, Path]) -> None:
    for path in units.values():
        done = analyze(units, "security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", "--no-pager", str(path))
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_required_setting_is_provided_and_the_migration_knows_the_database_only() -> None:
    for unit in UNITS:
        model = DatabaseSettings if "migrate" in unit else Settings
        assert set(_variables(model, needed=True)) <= loaded(unit) | in_file()
    assert loaded("aigen-bridge-migrate.service") == {"AIGEN_DATABASE_URL"}


def test_the_units_get_the_secrets_that_the_bridge_gets_with_compose() -> None:
    for unit, service in (("api.service", "api"), ("worker@.service", "worker"), ("migrate.service", "migrate")):
        assert loaded(f"aigen-bridge-{unit}") == set(SERVICES[service]["secrets"])


def test_every_secret_of_the_units_is_made() -> None:
    made = (ROOT / "deploy/secrets.sh").read_text()
    assert all(secret in made for unit in UNITS for secret in loaded(unit))


def test_no_secret_stands_among_the_settings() -> None:
    assert not [name for name in in_file() if re.search("KEY|PASSWORD|SECRET|TOKEN|DATABASE_URL|CLIENTS", name)]


@pytest.mark.skipif(not _tool("nginx"), reason="nginx is not installed")
def test_nginx_accepts_the_proxy_in_front(tmp_path: Path) -> None:
    authority = trustme.CA()
    for name in ("server", "odoo"):
        certificate = authority.issue_cert(f"{name}.test")
        certificate.cert_chain_pems[0].write_to_path(str(tmp_path / f"{name}.pem"))
        certificate.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))
    authority.cert_pem.write_to_path(str(tmp_path / "clients-ca.pem"))
    proxy = (ROOT / "deploy/proxy/nginx.conf").read_text()
    proxy = proxy.replace("/etc/nginx/tls", str(tmp_path)).replace("listen 443", "listen 127.0.0.1:44300")
    main = f"pid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{proxy}\n}}\n"
    (tmp_path / "nginx.conf").write_text(main)
    command = [str(_tool("nginx")), "-t", "-q", "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.stderr, done.returncode) == ("", 0)
