"""Certificates for signing images, right and wrong, and services for timestamps, right and wrong."""

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID, ObjectIdentifier

EMAIL = ExtendedKeyUsageOID.EMAIL_PROTECTION
NOW = datetime.now(UTC)
ISSUER_KEY = ec.generate_private_key(ec.SECP256R1())
PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


class Pair(NamedTuple):
    """A certificate with its chain, and its key: PEM."""

    certificate: bytes
    key: bytes


def pem_of(key: PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def named(name: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, name), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example")]
    )


def issued(
    key: PrivateKey | None = None,
    *,
    issuer_key: PrivateKey = ISSUER_KEY,
    subject: str = "Marketing",
    issuer: str = "Authority",
    days: tuple[float, float] = (-1, 90),
    usages: Sequence[ObjectIdentifier] = (EMAIL,),
    signs: bool = True,
    is_authority: bool = False,
    names_issuer_key: bool = True,
    is_usage_critical: bool = False,
    ocsp: str | None = None,
) -> Pair:
    """A certificate without a chain. `days` from now: when it begins and ends to be valid."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    unused = ("content_commitment", "data_encipherment", "key_agreement", "crl_sign", "encipher_only", "decipher_only")
    usage = x509.KeyUsage(
        digital_signature=signs,
        key_encipherment=not signs,
        key_cert_sign=is_authority,
        **dict.fromkeys(unused, False),
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(subject))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=days[0]))
        .not_valid_after(NOW + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
    )
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=is_usage_critical)
    if ocsp:
        access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(ocsp))
        builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
    if names_issuer_key:
        issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        builder = builder.add_extension(issuer_id, critical=False)
    certificate = builder.sign(issuer_key, None if isinstance(issuer_key, ed25519.Ed25519PrivateKey) else SHA256())
    return Pair(certificate.public_bytes(Encoding.PEM), pem_of(key))


AUTHORITY = issued(ISSUER_KEY, subject="Authority", usages=(), is_authority=True).certificate
GOOD = issued()
GOOD_WITH_CHAIN = Pair(GOOD.certificate + AUTHORITY, GOOD.key)


Reply = Callable[[bytes], bytes]
"""Query of RFC 3161 -> reply. Both are DER."""


def openssl_replies(folder: Path) -> Reply:
    """OpenSSL answers, with files in this folder."""
    stamping = issued(usages=[ExtendedKeyUsageOID.TIME_STAMPING], is_usage_critical=True)
    for name, content in (("stamping.pem", stamping.certificate), ("stamping.key", stamping.key), ("serial", b"01")):
        (folder / name).write_bytes(content)
    (folder / "openssl.cnf").write_text(f"""
        [tsa]
        default_tsa = test
        [test]
        serial = {folder}/serial
        signer_cert = {folder}/stamping.pem
        signer_key = {folder}/stamping.key
        certs = {folder}/stamping.pem
        signer_digest = sha256
        default_policy = 1.2.3.4
        digests = sha256
        ess_cert_id_alg = sha256
    """)

    def reply(query: bytes) -> bytes:
        (folder / "query").write_bytes(query)
        command = ["openssl", "ts", "-reply", "-config", folder / "openssl.cnf", "-queryfile", folder / "query"]
        return subprocess.run(command, capture_output=True, check=True, timeout=30).stdout

    return reply


@contextmanager
def timestamp_service(reply: Reply) -> Iterator[str]:
    """Yields the URL of a service that answers with these replies."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = reply(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@contextmanager
def silent_service(first: bytes = b"", *, trickle: bytes = b"") -> Iterator[tuple[str, list[bytes]]]:
    """Accepts connections, sends `first`, then `trickle` ten times a second. Yields its URL and what it was sent."""
    heard: list[bytes] = []
    stopped = threading.Event()

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            heard.append(connection.recv(2**16))
            connection.sendall(first)
            while not stopped.wait(0.1):
                connection.sendall(trickle)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=answer, args=[listener.accept()[0]], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/", heard
        stopped.set()
        listener.shutdown(socket.SHUT_RDWR)
