"""The certificate that images are signed with."""

import ssl
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aigen_bridge.clients.c2pa_process import USAGES as USAGES_OF_THE_LIBRARY
from aigen_bridge.clients.signing_certificate import USAGES, examine, make_test_certificate
from signing import AUTHORITY, EMAIL, GOOD, GOOD_WITH_CHAIN, NOW, Pair, PrivateKey, issued

P256 = ec.generate_private_key(ec.SECP256R1())
DER = ssl.PEM_cert_to_DER_cert(GOOD.certificate.decode())
SERVER = ExtendedKeyUsageOID.SERVER_AUTH
P256_DER = P256.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
UNKNOWN_KIND = ssl.DER_cert_to_PEM_cert(P256_DER.replace(b"\xce\x3d\x02\x01", b"\xce\x3d\x02\x7f")).encode()
UNKNOWN_KIND = UNKNOWN_KIND.replace(b"CERTIFICATE", b"PRIVATE KEY")


def key_as(form: PrivateFormat, password: bytes | None = None) -> Pair:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return Pair(issued(P256).certificate, P256.private_bytes(Encoding.PEM, form, encryption))


ACCEPTED = {
    "with its chain": GOOD_WITH_CHAIN,
    "without a chain": GOOD,
    "with a comment in front": Pair(b"subject=CN=Marketing\n" + GOOD.certificate, GOOD.key),
    "with line ends of Windows": Pair(GOOD.certificate.replace(b"\n", b"\r\n"), GOOD.key),
    "with another usage besides": issued(usages=[SERVER, EMAIL]),
    **{f"with the usage {usage.dotted_string}": issued(usages=[usage]) for usage in USAGES},
}
REFUSED = {
    "expired": (issued(days=(-9, -1)), "expired on"),
    "not yet valid": (issued(days=(1, 9)), "not valid before"),
    "the key of another": (Pair(GOOD.certificate, issued().key), "belongs to another certificate"),
    "a usage for servers": (issued(usages=[SERVER]), "extended key usage"),
    "no usage": (issued(usages=[]), "extended key usage"),
    "any usage": (issued(usages=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, EMAIL]), "extended key usage"),
    "for timestamps, too": (issued(usages=[ExtendedKeyUsageOID.TIME_STAMPING, EMAIL]), "extended key usage"),
    "not for signing": (issued(signs=False), "digitalSignature"),
    "self-signed": (issued(P256, issuer_key=P256, issuer="Marketing"), "self-signed"),
    "no authorityKeyIdentifier": (issued(names_issuer_key=False), "authorityKeyIdentifier"),
    "an authority": (issued(is_authority=True), "authority"),
    "the authority first": (Pair(AUTHORITY + GOOD.certificate, GOOD.key), "Put the signing certificate first"),
    "a chain of others": (Pair(GOOD.certificate + issued().certificate, GOOD.key), "Certificate 2 in the file"),
    "a curve that C2PA does not know": (issued(ec.generate_private_key(ec.SECP256K1())), "kind of key"),
    "a short RSA key": (issued(rsa.generate_private_key(65537, 1024)), "kind of key"),  # noqa: S505 - it is refused
    "an encrypted key": (key_as(PrivateFormat.PKCS8, b"secret"), "openssl pkcs8"),
    "a key in OpenSSL's form": (key_as(PrivateFormat.TraditionalOpenSSL), "openssl pkcs8"),
    "no key": (Pair(GOOD.certificate, b""), "openssl pkcs8"),
    "a key of another kind": (Pair(GOOD.certificate, UNKNOWN_KIND), "The key cannot be read"),
    "half a key": (Pair(GOOD.certificate, GOOD.key[:90]), "The key cannot be read"),
    "no PEM": (Pair(b"\x30\x82", GOOD.key), "The certificate cannot be read"),
    "no certificate": (Pair(b"", GOOD.key), "The certificate cannot be read"),
    "a broken certificate": (Pair(GOOD.certificate[:200] + GOOD.certificate[230:], GOOD.key), "cannot be read"),
}


@pytest.mark.parametrize("pair", ACCEPTED.values(), ids=ACCEPTED)
def test_what_c2pa_allows_has_no_problem(pair: Pair) -> None:
    examination = examine(pair.certificate, pair.key, NOW)
    assert examination.problems == ()
    assert examination.algorithm == "es256"
    assert examination.expires_at == (NOW + timedelta(days=90)).replace(microsecond=0)
    assert examination.subject == "O=Example,CN=Marketing"


@pytest.mark.parametrize(("pair", "said"), REFUSED.values(), ids=REFUSED)
def test_each_problem_is_named_with_what_to_do(pair: Pair, said: str) -> None:
    problems = examine(pair.certificate, pair.key, NOW).problems
    assert len(problems) == 1
    assert said in problems[0]
    assert pair.key.decode() not in problems[0] or not pair.key


def test_several_problems_are_all_named() -> None:
    pair = issued(days=(-9, -1), usages=[SERVER], signs=False)
    assert len(examine(pair.certificate, GOOD.key, NOW).problems) == 4


KEYS: dict[str, PrivateKey] = {
    "es256": P256,
    "es384": ec.generate_private_key(ec.SECP384R1()),
    "es512": ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "ps256": rsa.generate_private_key(65537, 2048),
}


@pytest.mark.parametrize("algorithm", KEYS)
def test_the_algorithm_is_that_of_the_key(algorithm: str) -> None:
    pair = issued(KEYS[algorithm])
    examination = examine(pair.certificate, pair.key, NOW)
    assert (examination.algorithm, examination.problems) == (algorithm, ())


@given(certificate=st.binary(max_size=200), key=st.binary(max_size=200))
def test_any_bytes_are_a_problem_and_never_an_error(certificate: bytes, key: bytes) -> None:
    assert examine(certificate, key, NOW).problems
    assert examine(GOOD.certificate, b"-----BEGIN PRIVATE KEY-----\n" + key, NOW).problems


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=1000)
@example(at=12, byte=11)  # the version
@example(at=58, byte=3)  # the type of a name
@given(at=st.integers(0, len(DER) - 1), byte=st.integers(0, 255))
def test_a_damaged_certificate_is_never_an_error(at: int, byte: int) -> None:
    damaged = DER[:at] + bytes([byte]) + DER[at + 1 :]
    examine(ssl.DER_cert_to_PEM_cert(damaged).encode(), GOOD.key, NOW)


def test_a_test_certificate_has_no_problem_and_says_what_it_is_for(tmp_path: Path) -> None:
    certificate, key = make_test_certificate(tmp_path / "new", NOW)
    examination = examine(certificate.read_bytes(), key.read_bytes(), NOW)
    assert examination.problems == ()
    assert "FOR TESTING ONLY" in str(examination.subject)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["certificate.pem", "key.pem"])
def test_a_test_certificate_overwrites_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(FileExistsError, match=name):
        make_test_certificate(tmp_path, NOW)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "precious")]


def test_the_library_accepts_every_usage() -> None:
    assert {usage.dotted_string for usage in USAGES} <= set(USAGES_OF_THE_LIBRARY)
    assert all(isinstance(usage, ObjectIdentifier) for usage in USAGES)
