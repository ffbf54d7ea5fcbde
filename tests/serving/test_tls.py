"""Certificates and keys that cannot be used: each is named, before anything listens."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from framepace.errors import UsageError
from framepace.openinference.protos import INFERENCE
from framepace.serving.options import ServeOptions
from framepace.serving.server import check
from tests.serving.servers import SLOW, served

NEW = "req -x509 -nodes -days 1 -subj /CN=localhost"
KINDS = {
    "p256": "ec -pkeyopt ec_paramgen_curve:P-256",
    "p384": "ec -pkeyopt ec_paramgen_curve:P-384",
    "p521": "ec -pkeyopt ec_paramgen_curve:P-521",
    "k256": "ec -pkeyopt ec_paramgen_curve:secp256k1",
    "ed25519": "ed25519",
    "ed448": "ed448",
}
"""Kinds of keys beside RSA, as openssl makes them."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and its key, another key, the key with a password, and files that are neither."""
    folder = tmp_path_factory.mktemp("tls")
    openssl = [
        f"{NEW} -newkey rsa:2048 -keyout key.pem -out certificate.pem",
        f"{NEW} -newkey rsa:512 -keyout short-key.pem -out short.pem",
        *(f"{NEW} -newkey {kind} -keyout {name}-key.pem -out {name}.pem" for name, kind in KINDS.items()),
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
        ("certificate.pem", "p256-key.pem", "the key for TLS is not that of the certificate", "--tls-key"),
        ("p256.pem", "p384-key.pem", "the key for TLS is not that of the certificate", "--tls-key"),
        ("short.pem", "short-key.pem", "the key for TLS is too short", "rsa:2048"),
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


@pytest.mark.parametrize(
    ("name", "kind"),
    [("ed25519", "Ed25519"), ("ed448", "Ed448"), ("p521", "ECDSA P-521"), ("k256", "another kind")],
)
def test_a_certificate_that_clients_of_grpc_cannot_check_serves_http_alone(folder: Path, name: str, kind: str) -> None:
    """gRPC's server takes two of them, and no client of its library connects: they say that nobody is there."""
    options = ServeOptions(certificate=folder / f"{name}.pem", key=folder / f"{name}-key.pem")
    with pytest.raises(UsageError, match="gRPC does not take this certificate") as caught:
        check(options)
    assert caught.value.got == f"{options.certificate}: its key is of {kind}"
    assert "P-256" in str(caught.value.expected)
    assert "--grpc-port -1" in str(caught.value.fix)
    assert check(replace(options, grpc_port=None))


@pytest.mark.parametrize("name", ["certificate", "p256", "p384"])
def test_clients_of_grpc_connect_by_every_kind_of_certificate_that_is_taken(folder: Path, name: str) -> None:
    """The library's own client, which checks the certificate."""
    key = folder / ("key.pem" if name == "certificate" else f"{name}-key.pem")
    certificate = folder / f"{name}.pem"
    with served("null", SLOW, certificate=certificate, key=key, grpc_port=0) as server:
        assert server.grpc is not None
        credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
        names = (("grpc.ssl_target_name_override", "localhost"),)
        with grpc.secure_channel(f"127.0.0.1:{server.grpc.port}", credentials, names) as channel:
            live = channel.unary_unary(f"/{INFERENCE}/ServerLive")
            assert live(b"", timeout=30) == b"\x08\x01"
