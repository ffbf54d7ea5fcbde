"""The certificate of a server and its key: what is wrong with them is said before anything listens."""

from __future__ import annotations

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
    if error.reason == "KEY_VALUES_MISMATCH":
        fix = "give the key with which the certificate was made: --tls-key"
        return UsageError("the key for TLS is not that of the certificate", got=both, fix=fix)
    reason = error.reason or error
    fix = "openssl x509 and openssl pkey say what is wrong with each"
    return UsageError("the certificate for TLS or its key is damaged", got=f"{both}: {reason}", fix=fix)
