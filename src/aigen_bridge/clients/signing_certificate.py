"""The certificate that images are signed with: what C2PA requires of it, and a test certificate.

The rules are those of C2PA 2.2, 14.5 ("X.509 certificates"). Whether others trust its issuer is not examined.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

USAGES = frozenset(
    {
        ExtendedKeyUsageOID.EMAIL_PROTECTION,
        ObjectIdentifier("1.3.6.1.5.5.7.3.36"),  # document signing
        ObjectIdentifier("1.3.6.1.4.1.62558.2.1"),  # C2PA claim signing
        ObjectIdentifier("1.3.6.1.4.1.311.76.59.1.9"),  # the same, Microsoft's
    }
)
"""A signing certificate needs one of these extended key usages."""
FORBIDDEN_USAGES = frozenset(
    {
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
        ExtendedKeyUsageOID.TIME_STAMPING,
        ExtendedKeyUsageOID.OCSP_SIGNING,
    }
)
CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
"""Curve -> C2PA's name of the algorithm."""
RSA_BITS_MIN = 2048
TEST_LIFETIME = timedelta(days=90)
TEST_SUBJECT = "aigen-bridge test certificate"
_AUTHORITY_FIRST: tuple[str, ...] = (
    "The first certificate in the file is that of an authority. Put the signing certificate first.",
)
_UNREADABLE = (
    *(ValueError, TypeError, UnsupportedAlgorithm),
    *(x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType),
)
"""Raised for a damaged certificate."""
_ORDER_ANOTHER = "Order a certificate for signing e-mail (S/MIME), documents or C2PA claims."


@dataclass(frozen=True, slots=True)
class Examination:
    """What is known of a certificate and its key. `problems` are sentences that say what to do.

    `algorithm` is C2PA's name of the algorithm that the key signs with. None: the certificate does not say, or cannot
    be read.
    """

    problems: tuple[str, ...]
    subject: str | None = None
    expires_at: datetime | None = None
    algorithm: str | None = None


def examine(certificate: bytes, key: bytes, now: datetime) -> Examination:
    """Examines the certificate with its chain, and the key. Both are PEM."""
    try:
        return _examined(x509.load_pem_x509_certificates(certificate), key, now)
    except _UNREADABLE:
        return Examination(
            ("The certificate cannot be read. Give it as a PEM file, followed by those of its issuers.",)
        )


def make_test_certificate(folder: Path, now: datetime) -> tuple[Path, Path]:
    """Makes a certificate with its authority, and a key. Returns the paths of `certificate.pem` and `key.pem`.

    Nobody trusts the authority, whose own key is not kept. Raises `FileExistsError` if one of the files exists.
    """
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _test_certificate("aigen-bridge test authority", authority_key, authority_key, now, for_issuing=True)
    leaf = _test_certificate(TEST_SUBJECT, key, authority_key, now, for_issuing=False)
    paths = folder / "certificate.pem", folder / "key.pem"
    for path in paths:
        if path.exists():
            raise FileExistsError(f"{path} exists and is not overwritten.")
    folder.mkdir(parents=True, exist_ok=True)
    _write(paths[1], key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    _write(paths[0], leaf.public_bytes(Encoding.PEM) + authority.public_bytes(Encoding.PEM), 0o644)
    return paths


def _examined(chain: Sequence[x509.Certificate], key: bytes, now: datetime) -> Examination:
    leaf, algorithm = chain[0], _algorithm(chain[0])
    problems = _AUTHORITY_FIRST
    if not _is_authority(leaf):
        problems = (*_times(leaf, now), *_keys(leaf, key, algorithm), *_usage(leaf), *_order(chain))
    return Examination(problems, leaf.subject.rfc4514_string(), leaf.not_valid_after_utc, algorithm)


def _times(leaf: x509.Certificate, now: datetime) -> Iterator[str]:
    if now > leaf.not_valid_after_utc:
        yield f"The certificate expired on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC. Renew it."
    if now < leaf.not_valid_before_utc:
        yield (
            f"The certificate is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC. Wait, or correct the "
            "clock of this machine."
        )


def _algorithm(leaf: x509.Certificate) -> str | None:
    match leaf.public_key():
        case ec.EllipticCurvePublicKey() as key:
            return CURVES.get(key.curve.name)
        case ed25519.Ed25519PublicKey():
            return "ed25519"
        case rsa.RSAPublicKey() as key if key.key_size >= RSA_BITS_MIN:
            return "ps256"
    return None


def _keys(leaf: x509.Certificate, key: bytes, algorithm: str | None) -> Iterator[str]:
    if algorithm is None:
        yield (
            "C2PA does not allow this kind of key. Order a certificate for a key on the curve P-256, P-384 or P-521, "
            f"for Ed25519, or for RSA with at least {RSA_BITS_MIN} bits."
        )
    if b"BEGIN PRIVATE KEY" not in key:
        yield (
            "The key must be an unencrypted PEM file that begins with BEGIN PRIVATE KEY (PKCS #8). Convert it: "
            "openssl pkcs8 -topk8 -nodes -in KEY -out NEW_KEY"
        )
        return
    try:
        fits = load_pem_private_key(key, None).public_key() == leaf.public_key()
    except (ValueError, UnsupportedAlgorithm):
        yield "The key cannot be read. Copy the file again."
        return
    if not fits:
        yield "The key belongs to another certificate. Give the key of the first certificate in the file."


def _usage(leaf: x509.Certificate) -> Iterator[str]:
    extensions = {extension.oid: extension.value for extension in leaf.extensions}
    usage = extensions.get(x509.KeyUsage.oid)
    if not isinstance(usage, x509.KeyUsage) or not usage.digital_signature:
        yield f"The certificate lacks the key usage digitalSignature. {_ORDER_ANOTHER}"
    extended = extensions.get(x509.ExtendedKeyUsage.oid)
    usages = frozenset(extended) if isinstance(extended, x509.ExtendedKeyUsage) else frozenset()
    if not usages & USAGES or usages & FORBIDDEN_USAGES:
        yield f"The certificate's extended key usage does not allow signing images. {_ORDER_ANOTHER}"
    if leaf.subject == leaf.issuer:
        yield "The certificate is self-signed, which C2PA does not allow. Use one that an authority has issued."
    elif x509.AuthorityKeyIdentifier.oid not in extensions:
        yield f"The certificate has no authorityKeyIdentifier. {_ORDER_ANOTHER}"


def _is_authority(certificate: x509.Certificate) -> bool:
    extensions = (extension.value for extension in certificate.extensions)
    return any(isinstance(value, x509.BasicConstraints) and value.ca for value in extensions)


def _order(chain: Sequence[x509.Certificate]) -> Iterator[str]:
    for number, (certificate, issuer) in enumerate(pairwise(chain), start=2):
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            yield (
                f"Certificate {number} in the file did not issue certificate {number - 1}. Put the signing certificate "
                "first, then its issuer, then the issuer's issuer."
            )


def _test_certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: ec.EllipticCurvePrivateKey, now: datetime, *, for_issuing: bool
) -> x509.Certificate:
    public = key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(_test_name(name))
        .issuer_name(_test_name("aigen-bridge test authority"))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + TEST_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=for_issuing, path_length=0 if for_issuing else None), critical=True)
        .add_extension(_key_usage(for_issuing=for_issuing), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False)
    )
    if not for_issuing:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(issuer, SHA256())


def _test_name(name: str) -> x509.Name:
    purpose = "FOR TESTING ONLY, NOT FOR PUBLISHING"
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, purpose), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )


def _key_usage(*, for_issuing: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not for_issuing,
        key_cert_sign=for_issuing,
        crl_sign=for_issuing,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    """Writes a new file. Raises `FileExistsError` if there is one already."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
