"""The certificate of a server and its key: what is wrong with them is said before anything listens."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import NoReturn

from framepace.errors import UsageError
from framepace.inputfile import InputKind, read_file, shown

_LARGEST = 1 << 20  # bytes; a certificate with all that vouch for it has some thousand
_CERTIFICATE = InputKind(
    "the certificate for TLS",
    UsageError,
    "a file in PEM, -----BEGIN CERTIFICATE-----",
    "name another: --tls-certificate",
)
_KEY = InputKind("the key for TLS", UsageError, "a file in PEM, -----BEGIN PRIVATE KEY-----", "name another: --tls-key")
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
# How a certificate names the kind of its key (RFC 5280, 4.1.2.7, in DER).
_FOR_GRPC = (
    "300d06092a864886f70d0101010500",
    "301306072a8648ce3d020106082a8648ce3d030107",
    "301006072a8648ce3d020106052b81040022",
)
_OTHERS = {
    "Ed25519": "300506032b6570",
    "Ed448": "300506032b6571",
    "ECDSA P-521": "301006072a8648ce3d020106052b81040023",
}
_NEW_PAIR = (
    "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost "
    "-out new.pem -keyout new-key.pem, and give --tls-certificate new.pem --tls-key new-key.pem"
)
_NOT_ITS_KEY = (
    "the key for TLS is not that of the certificate",
    "give the key with which the certificate was made: --tls-key",
)
_REASONS = {
    "KEY_VALUES_MISMATCH": _NOT_ITS_KEY,
    "NO_CERTIFICATE_ASSIGNED": _NOT_ITS_KEY,  # it has none of the kind of this key
    "EE_KEY_TOO_SMALL": ("the key for TLS is too short", f"make a longer one, and its certificate: {_NEW_PAIR}"),
}


def check_pair(certificate: Path, key: Path) -> None:
    """Raise UsageError for files that are not there, hold something else, do not belong together, or are encrypted."""
    _check_certificate(certificate)
    _check_key(key)

    def refuse() -> NoReturn:  # asked for the password of a key that has one
        fix = f"write it without: openssl pkey -in {shown(key)} -out plain.pem, and give --tls-key plain.pem"
        raise UsageError("the key for TLS is encrypted", got=shown(key), expected="a key without a password", fix=fix)

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, refuse)
    except ssl.SSLError as error:
        raise _not_a_pair(certificate, key, error) from error


def check_for_grpc(certificate: Path) -> None:
    """Raise UsageError for a certificate that serves HTTP alone, as that of a key of Ed25519 or ECDSA P-521.

    BoringSSL, with which gRPC's clients in C++, Python and others check it, knows of them and takes none: they would
    say that nobody is there. Other kinds its server does not take either.
    """
    found = _PEM.search(certificate.read_text("latin-1"))
    if found is None:  # PEM has other names for it, rarely used; gRPC's server says whether it takes one
        return
    data = ssl.PEM_cert_to_DER_cert(found[0])
    if any(bytes.fromhex(kind) in data for kind in _FOR_GRPC):
        return
    kind = next((name for name, text in _OTHERS.items() if bytes.fromhex(text) in data), "another kind")
    raise not_for_grpc(certificate, f"its key is of {kind}")


def not_for_grpc(certificate: Path, problem: str) -> UsageError:
    """The error for a certificate that is right, and of no use to gRPC."""
    return UsageError(
        "gRPC does not take this certificate",
        got=f"{shown(certificate)}: {problem}",
        expected="a key of RSA, or of ECDSA with P-256 or P-384",
        fix=f"leave gRPC out: --grpc-port -1, or make another pair: {_NEW_PAIR}",
    )


def _check_certificate(path: Path) -> None:
    text = read_file(path, _CERTIFICATE, _LARGEST)
    if b"CERTIFICATE-----" not in text:
        raise _not_in(path, _CERTIFICATE, text)


def _check_key(path: Path) -> None:
    text = read_file(path, _KEY, _LARGEST)
    if b"PRIVATE KEY-----" not in text:
        raise _not_in(path, _KEY, text)


def _not_in(path: Path, kind: InputKind, text: bytes) -> UsageError:
    """The error for a file that holds something else."""
    is_swapped = b"PRIVATE KEY-----" in text or b"CERTIFICATE-----" in text
    fix = "give the two files the other way round" if is_swapped else kind.fix
    return UsageError(f"{kind.noun} is not in its file", got=shown(path), expected=kind.expected, fix=fix)


def _not_a_pair(certificate: Path, key: Path, error: ssl.SSLError) -> UsageError:
    """The error for two files that have what they should, and cannot be used."""
    both = f"{shown(certificate)} and {shown(key)}"
    if error.reason in _REASONS:
        what, fix = _REASONS[error.reason]
        return UsageError(what, got=both, fix=fix)
    reason = error.reason or error
    fix = "openssl x509 and openssl pkey say what is wrong with each"
    return UsageError("the certificate for TLS or its key is damaged", got=f"{both}: {reason}", fix=fix)
