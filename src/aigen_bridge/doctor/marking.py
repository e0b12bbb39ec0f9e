"""Checks that images can be marked as made by AI: the certificate, its key, the timestamp service."""

import asyncio
import stat
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from aigen_bridge.clients.credentials import Credentials, Fault, SigningError, is_available, sign
from aigen_bridge.doctor.finding import Finding, NotLookedAtError, ok, warning, wrong
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.domain.provenance import MarkingMode, Origin
from aigen_bridge.settings import secrets_directory
from aigen_bridge.settings.sections import MarkingSettings

if TYPE_CHECKING:
    from aigen_bridge.clients.signing_certificate import Examination

ENDS_SOON = timedelta(days=30)
TIMESTAMP_DEADLINE = timedelta(seconds=5)


async def look_at_marking(subject: Subject) -> list[Finding]:
    """Images can be marked as the settings say. Signs a test image, which goes nowhere."""
    if subject.settings is None:
        raise NotLookedAtError
    marking = subject.settings.marking
    match marking.mode:
        case MarkingMode.OFF:
            return [ok("marking", "Images are not marked as made by AI: AIGEN_MARKING__MODE is off.")]
        case MarkingMode.METADATA:
            return [ok("marking", "Images are marked as made by AI in their metadata.")]
    if not is_available():
        found = "AIGEN_MARKING__MODE is c2pa, but C2PA's library is not installed: no image can be signed."
        return [wrong("marking", found, "Install the extra 'marking' for workers and API.")]
    return await asyncio.to_thread(_look_at_certificate, subject, marking)


def _look_at_certificate(subject: Subject, marking: MarkingSettings) -> list[Finding]:
    from aigen_bridge.clients.signing_certificate import examine  # noqa: PLC0415 - needs the extra

    if marking.certificate is None or marking.key is None:
        raise NotLookedAtError
    try:
        certificate, key = marking.certificate.read_bytes(), marking.key.read_bytes()
    except OSError as error:
        found = f"{error.filename} cannot be read: {error.strerror}. No image can be signed."
        return [wrong("marking", found, "Correct the path, or let the bridge's user read the file.")]
    examined = examine(certificate, key, subject.now())
    if examined.problems or examined.algorithm is None:
        return [_problem(problem) for problem in examined.problems]
    credentials = Credentials(
        certificate=certificate.decode(errors="replace"),
        key=key.decode(errors="replace"),
        algorithm=examined.algorithm,
        timestamp_url=marking.timestamp_url,
        timestamp_deadline=TIMESTAMP_DEADLINE,
    )
    findings = [*_doubts(marking.key, examined, subject.now()), *_trial(credentials, subject.now())]
    return findings or [ok("marking", f"Images are signed with C2PA, by {examined.subject}, {_ends(examined)}.")]


def _problem(problem: str) -> Finding:
    """Returns a sentence about the certificate as a finding, and those that follow as its advice."""
    found, _, advice = problem.partition(". ")
    return wrong("marking", f"{found.removesuffix('.')}. No image can be signed.", advice)


def _doubts(key: Path, examined: "Examination", now: datetime) -> Iterator[Finding]:
    from aigen_bridge.clients.signing_certificate import TEST_SUBJECT  # noqa: PLC0415 - needs the extra

    if TEST_SUBJECT in (examined.subject or ""):
        found = "Images are signed with a test certificate, which nobody trusts."
        yield warning("marking", found, "Order a certificate (docs/marking.md), or set AIGEN_MARKING__MODE=metadata.")
    if examined.expires_at and examined.expires_at - now < ENDS_SOON:
        found = f"The signing certificate is {_ends(examined)}. After that, no image can be signed."
        yield warning("marking", found, "Renew it and replace both files. Workers need no restart.")
    if _is_readable_by_all(key):
        found = f"Every user of this machine can read the signing key {key}."
        yield warning("marking", found, f"Let only the bridge's user read it: chmod 600 {key}")


def _is_readable_by_all(file: Path) -> bool:
    """Returns whether every user may read a file. In the secrets directory, which is a mount, modes say nothing."""
    is_open = all(folder.stat().st_mode & stat.S_IXOTH for folder in file.resolve().parents)
    is_mounted = file.is_relative_to(secrets_directory())
    return bool(file.stat().st_mode & stat.S_IROTH) and is_open and not is_mounted


def _ends(examined: "Examination") -> str:
    return f"valid until {examined.expires_at:%Y-%m-%d %H:%M} UTC"


def _trial(credentials: Credentials, now: datetime) -> Iterator[Finding]:
    """Signs an image of one pixel, with a timestamp if the settings name a service."""
    from aigen_bridge.clients.c2pa_process import TINY_PNG  # noqa: PLC0415 - needs the extra

    try:
        sign(TINY_PNG, "png", Origin(generated_at=now), credentials)
    except SigningError as error:
        if error.fault is Fault.TIMESTAMP:
            found = f"The timestamp service {credentials.timestamp_url} does not work: {error}. No image can be signed."
            yield wrong("marking", found, "Repair it, or remove AIGEN_MARKING__TIMESTAMP_URL.")
        else:
            is_certificate = error.fault is Fault.CERTIFICATE
            advice = "Replace the certificate." if is_certificate else "Check the memory and the load of this machine."
            yield wrong("marking", f"A test image could not be signed: {error}.", advice)
