"""`aigen-bridge marking check` and `test-certificate`, which need no settings."""

import json
import re
import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from aigen_bridge.cli import app, marks_of_file
from aigen_bridge.clients import credentials
from aigen_bridge.clients.credentials import Credentials, sign
from aigen_bridge.clients.signing_certificate import make_test_certificate
from aigen_bridge.domain.image_metadata import with_xmp
from aigen_bridge.domain.marks import with_metadata
from aigen_bridge.domain.provenance import Origin
from image_files import LIGHTHOUSE, encoded
from processes import run
from signing import openssl_replies, timestamp_service

ORIGIN = Origin(generated_at=datetime(2026, 3, 1, tzinfo=UTC), model="fal-ai/flux", provider="fal")
DESCRIBED = with_metadata(LIGHTHOUSE, "png", ORIGIN, "aigen-bridge")
Check = Callable[..., Result]


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    certificate, key = make_test_certificate(tmp_path_factory.mktemp("certificate"), datetime.now(UTC))
    return Credentials(certificate=certificate.read_text(), key=key.read_text(), algorithm="es256")


@pytest.fixture(scope="module")
def signed(signing: Credentials) -> bytes:
    return sign(DESCRIBED, "png", ORIGIN, signing)


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Checks one file with this content."""

    def check(content: bytes, *options: str) -> Result:
        path = tmp_path / "image"
        path.write_bytes(content)
        return CliRunner().invoke(app, ["marking", "check", *options, str(path)])

    return check


def facts(result: Result) -> dict[str, str]:
    """Returns the facts that were printed, by name."""
    lines = [line[2:].partition("  ") for line in result.output.splitlines() if line.startswith("  ")]
    return {name.strip(): fact.strip() for name, _, fact in lines}


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
def test_metadata_that_says_that_ai_made_the_image_is_a_mark(check: Check, image_format: str) -> None:
    plain = encoded(image_format.upper())
    marked = check(with_metadata(plain, image_format, ORIGIN, "aigen-bridge"))

    assert (marked.exit_code, check(plain).exit_code) == (0, 1)
    assert facts(marked)["image"].startswith(f"{image_format}, 45x31, ")
    assert facts(marked)["source type"].endswith("/trainedAlgorithmicMedia")
    assert (facts(marked)["AI system"], facts(marked)["creator tool"]) == ("fal-ai/flux", "aigen-bridge")
    assert facts(marked)["result"] == "marked as made by AI"
    assert facts(check(plain))["result"] == "not marked as made by AI"


def test_a_signed_image_names_its_signer_and_what_it_was_made_from(
    check: Check, signed: bytes, signing: Credentials
) -> None:
    twice = check(sign(signed, "png", ORIGIN, signing))

    assert twice.exit_code == 0
    assert facts(twice)["C2PA"].startswith("valid: intact and signed correctly")
    for name in ("manifest", "made from"):
        assert "signed by aigen-bridge test certificate, FOR TESTING ONLY" in facts(twice)[name]
        assert "without a timestamp" in facts(twice)[name]
        assert "says that AI made the image" in facts(twice)[name]


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_the_time_of_signing_is_shown_as_the_timestamp_service_says_it(
    check: Check, signing: Credentials, tmp_path: Path
) -> None:
    with timestamp_service(openssl_replies(tmp_path)) as url:
        stamped = replace(signing, timestamp_url=url, timestamp_deadline=timedelta(seconds=5))
        result = check(sign(LIGHTHOUSE, "png", ORIGIN, stamped))

    assert result.exit_code == 0
    assert re.search(r"FOR PUBLISHING, at 20\d\d-\S+ \(timestamp\); ", facts(result)["manifest"]), result.output


def test_an_image_that_was_changed_after_it_was_signed_fails_with_the_reason(check: Check, signed: bytes) -> None:
    result = check(with_xmp(signed, "png", b"<x/>"))

    assert result.exit_code == 1
    assert facts(result)["C2PA"] == (
        "NOT VALID: the image was changed after it was signed (assertion.dataHash.mismatch)"
    )
    assert facts(result)["result"] == "not valid as a mark"


def test_programs_get_the_same_as_json(check: Check, signed: bytes) -> None:
    result = check(signed, "--json")
    found = json.loads(result.output)

    assert found["found"] == ["c2pa", "digitalSourceType"]
    assert found["xmp"]["Iptc4xmpExt:AISystemUsed"] == "fal-ai/flux"
    assert (found["c2pa"]["valid"], found["c2pa"]["failures"], found["saysGenerated"]) == (True, [], True)
    [manifest] = found["c2pa"]["manifests"]
    assert manifest["software"].startswith("aigen-bridge ")
    assert manifest["timestamp"] is None


def test_without_the_library_a_manifest_is_reported_and_not_judged(
    check: Check, signed: bytes, signing: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_signed = sign(LIGHTHOUSE, "png", ORIGIN, signing)
    for module in (credentials, marks_of_file):
        monkeypatch.setattr(module, "is_available", lambda: False)

    assert "was not validated. To validate it, install the extra 'marking'" in facts(check(signed))["C2PA"]
    assert check(signed).exit_code == 0  # its metadata is a mark
    assert check(only_signed).exit_code == 1


def test_text_from_the_image_is_quoted(check: Check) -> None:
    packet = DESCRIBED[DESCRIBED.index(b"<?xpacket begin") : DESCRIBED.index(b'<?xpacket end="w"?>') + 19]
    result = check(
        with_xmp(LIGHTHOUSE, "png", packet.replace(b"fal-ai/flux", "\u202exulf \u2028".encode() + b"x" * 999))
    )

    assert "\\u202exulf" in facts(result)["AI system"]
    assert "\u202e" not in result.output
    assert len(facts(result)["AI system"]) < 250


def test_a_damaged_image_fails(check: Check) -> None:
    result = check(DESCRIBED[:40])
    assert result.exit_code == 1
    assert "the image " in facts(result)["damaged"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing", "does not exist."),
        (".", "is not a file."),
        ("text", "is text, not an image in one of the formats png, jpeg, webp."),
        ("empty", "not an image"),
        ("large", "is larger than 95.4 MiB."),
    ],
)
def test_a_file_that_is_no_image_is_reported_in_one_line(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "text").write_text("no image\n")
    (tmp_path / "empty").touch()
    with (tmp_path / "large").open("wb") as file:
        file.truncate(100_000_001)
    (tmp_path / "good").write_bytes(DESCRIBED)
    result = CliRunner().invoke(app, ["marking", "check", str(tmp_path / "good"), str(tmp_path / name)])

    assert result.exit_code == 1  # one good file does not make up for another
    assert said in result.output.splitlines()[-1]
    assert result.output.count(str(tmp_path)) == 2


def test_programs_get_a_line_for_a_file_that_is_no_image(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["marking", "check", "--json", str(tmp_path)])
    assert json.loads(result.output) == {"file": str(tmp_path), "error": "is not a file", "saysGenerated": False}


def test_the_test_certificate_signs_and_is_not_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "a folder" / "of it"
    done = run("marking", "test-certificate", str(folder), cwd=tmp_path)
    again = CliRunner().invoke(app, ["marking", "test-certificate", str(folder)])

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == [
        f"AIGEN_MARKING__CERTIFICATE={folder / 'certificate.pem'}",
        f"AIGEN_MARKING__KEY={folder / 'key.pem'}",
    ]
    assert "nobody trusts it" in done.stdout
    assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600
    assert (again.exit_code, again.output) == (1, f"{folder / 'certificate.pem'} exists and is not overwritten.\n")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(app, ["marking", "test-certificate", str(tmp_path / "file" / "folder")])

    assert result.exit_code == 1
    assert result.output == f"{tmp_path / 'file' / 'folder'} cannot be made: Not a directory.\n"


def test_check_is_a_command_of_its_own_process(tmp_path: Path, signed: bytes) -> None:
    (tmp_path / "image.png").write_bytes(signed)
    done = run("marking", "check", "image.png", cwd=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "image.png"
