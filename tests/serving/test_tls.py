"""Certificates and keys that cannot be used: each is named, before anything listens."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from framepace.errors import UsageError
from framepace.serving.options import ServeOptions
from framepace.serving.server import check


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and its key, another key, the key with a password, and files that are neither."""
    folder = tmp_path_factory.mktemp("tls")
    openssl = [
        "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -keyout key.pem -out certificate.pem",
        "genrsa -out other.pem 2048",
        "rsa -in key.pem -aes256 -passout pass:secret -out encrypted.pem",
    ]
    for words in openssl:
        subprocess.run(["openssl", *words.split()], check=True, capture_output=True, cwd=folder)
    lines = (folder / "key.pem").read_text().splitlines()
    (folder / "cut.pem").write_text("\n".join([*lines[:5], lines[-1], ""]))
    (folder / "text.pem").write_text("no PEM\n")
    return folder


@pytest.mark.parametrize(
    ("certificate", "key", "says", "advice"),
    [
        ("none.pem", "key.pem", "the certificate for TLS cannot be read", "--tls-certificate"),
        ("certificate.pem", "none.pem", "the key for TLS cannot be read", "--tls-key"),
        (".", "key.pem", "the certificate for TLS must be a file, not a folder", "--tls-certificate"),
        ("text.pem", "key.pem", "the certificate for TLS is not in its file", "--tls-certificate"),
        ("certificate.pem", "text.pem", "the key for TLS is not in its file", "--tls-key"),
        ("key.pem", "certificate.pem", "the certificate for TLS is not in its file", "the other way round"),
        ("certificate.pem", "other.pem", "the key for TLS is not that of the certificate", "--tls-key"),
        ("certificate.pem", "encrypted.pem", "the key for TLS is encrypted", "openssl pkey"),
        ("certificate.pem", "cut.pem", "the certificate for TLS or its key is damaged", "openssl"),
    ],
)
def test_what_is_wrong_with_a_certificate_or_its_key_is_said(
    folder: Path, certificate: str, key: str, says: str, advice: str
) -> None:
    """Whichever port is asked for; nobody is asked for a password."""
    for ports in ({"port": None}, {"grpc_port": None}):
        with pytest.raises(UsageError, match=says) as caught:
            check(ServeOptions(certificate=folder / certificate, key=folder / key, **ports))  # type: ignore[arg-type]
        assert advice in str(caught.value.fix)


def test_what_belongs_together_is_taken(folder: Path) -> None:
    """Also in one file."""
    both = folder / "both.pem"
    both.write_bytes((folder / "certificate.pem").read_bytes() + (folder / "key.pem").read_bytes())
    assert check(ServeOptions(certificate=folder / "certificate.pem", key=folder / "key.pem"))
    assert check(ServeOptions(certificate=both, key=both))
