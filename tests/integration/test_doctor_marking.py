"""The doctor on marking: the certificate, its key, the timestamp service, and images that nobody marks."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from aigen_bridge.clients.credentials import Fault, SigningError
from aigen_bridge.clients.signing_certificate import make_test_certificate
from aigen_bridge.doctor import marking
from aigen_bridge.doctor.examine import Check, examine
from aigen_bridge.doctor.finding import Finding, Mark
from aigen_bridge.doctor.marking import look_at_marking
from aigen_bridge.doctor.subject import Subject
from stage import make_settings

Look = Callable[..., Awaitable[list[Finding]]]


@pytest.fixture
def look(database_url: str) -> Look:
    """Returns the findings with these settings of marking, `days` from now."""

    async def look(days: int = 0, **settings: Any) -> list[Finding]:
        subject = Subject.of(make_settings(database_url, marking=settings))
        later = Subject(**vars(subject) | {"now": lambda: datetime.now(UTC) + timedelta(days=days)})
        return await examine(later, [Check("marking", look_at_marking)])

    return look


@pytest.fixture
def signing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Settings with a certificate that is in order, except that it is a test certificate."""
    certificate, key = make_test_certificate(tmp_path / "certificate", datetime.now(UTC))
    monkeypatch.setattr("aigen_bridge.clients.signing_certificate.TEST_SUBJECT", "another subject")
    return {"mode": "c2pa", "certificate": certificate, "key": key}


async def test_it_says_whether_images_are_marked(look: Look, signing: dict[str, Any]) -> None:
    for settings, said in (
        ({}, "Images are not marked as made by AI: AIGEN_MARKING__MODE is off."),
        ({"mode": "metadata"}, "Images are marked as made by AI in their metadata."),
        (signing, "Images are signed with C2PA, by CN=aigen-bridge test certificate,"),
    ):
        [finding] = await look(**settings)
        assert (finding.mark, finding.found.startswith(said)) == (Mark.OK, True), finding


@pytest.mark.parametrize(
    ("days", "mark", "said"),
    [(70, Mark.WARNING, "is valid until"), (91, Mark.WRONG, "The certificate expired on"), (-2, Mark.WRONG, "before")],
)
async def test_the_end_of_a_certificate_is_announced(
    look: Look, signing: dict[str, Any], days: int, mark: Mark, said: str
) -> None:
    [finding] = await look(days, **signing)
    assert (finding.mark, said in finding.found, bool(finding.advice)) == (mark, True, True), finding
    assert "no image can be signed" in finding.found.lower()


async def test_a_test_certificate_is_doubtful(
    look: Look, signing: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the subject of test certificates
    [finding] = await look(**signing)

    assert (finding.mark, "a test certificate, which nobody trusts" in finding.found) == (Mark.WARNING, True)


async def test_a_key_that_every_user_can_read_is_doubtful(
    look: Look, signing: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        key = Path(folder) / "key.pem"
        key.write_bytes(signing["key"].read_bytes())
        key.chmod(0o644)
        [readable] = await look(**signing | {"key": key})
        Path(folder).chmod(0o700)
        [enclosed] = await look(**signing | {"key": key})
        Path(folder).chmod(0o755)
        monkeypatch.setenv("AIGEN_SECRETS_DIR", folder)  # compose mounts files as they are
        [mounted] = await look(**signing | {"key": key})

    assert (readable.mark, f"chmod 600 {key}" in readable.advice) == (Mark.WARNING, True)
    assert enclosed.mark is mounted.mark is Mark.OK


async def test_files_that_fit_nothing_are_wrong(look: Look, signing: dict[str, Any], tmp_path: Path) -> None:
    _, other_key = make_test_certificate(tmp_path / "other", datetime.now(UTC))
    (tmp_path / "text").write_text("no certificate")
    wrong = {
        "The key belongs to another certificate": {"key": other_key},
        "The certificate cannot be read": {"certificate": tmp_path / "text"},
        "The key must be an unencrypted PEM file": {"key": tmp_path / "text"},
    }
    for said, changes in wrong.items():
        [finding] = await look(**signing | changes)
        assert (finding.mark, finding.found.startswith(said), bool(finding.advice)) == (Mark.WRONG, True, True), finding


async def test_without_the_library_nothing_can_be_signed(
    look: Look, signing: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marking, "is_available", lambda: False)
    [finding] = await look(**signing)

    assert (finding.mark, "library is not installed" in finding.found) == (Mark.WRONG, True)
    assert "extra 'marking'" in finding.advice


@pytest.mark.parametrize(
    ("fault", "advice"), [(Fault.CERTIFICATE, "Replace the certificate."), (Fault.UNFINISHED, "memory and the load")]
)
async def test_the_advice_fits_what_fails(
    look: Look, signing: dict[str, Any], monkeypatch: pytest.MonkeyPatch, fault: Fault, advice: str
) -> None:
    def fail(*_: object) -> bytes:
        raise SigningError(fault, "for a reason")

    monkeypatch.setattr(marking, "sign", fail)
    [finding] = await look(**signing)

    assert (finding.mark, advice in finding.advice) == (Mark.WRONG, True)


async def test_a_timestamp_service_that_does_not_answer_is_found(look: Look, signing: dict[str, Any]) -> None:
    [finding] = await look(**signing, timestamp_url="http://127.0.0.1:9/")

    assert finding.mark is Mark.WRONG  # images wait for it
    assert "The timestamp service http://127.0.0.1:9 does not work" in finding.found
    assert "AIGEN_MARKING__TIMESTAMP_URL" in finding.advice
