"""Certificates for one run: an authority that stays with the orchestrator, and one for each process of a node.

A node gets its own with its key, and the authority's without, over the way by which it gets its other keys: its stdin
(orchestrator/keys.py). Nothing of it is written anywhere. Keys are drawn for the run, and end with it; so a certificate
needs no beginning in time, and has none that the clock of a board without a battery could stand before.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

LASTS_S = 24 * 3600.0  # beyond the end of the run
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
LAST_S = 253402300799.0  # the last second that a certificate can name, at the end of the year 9999
PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Authority:
    """What signs the certificates of a run."""

    run_id: str
    until_s: float  # wall clock
    _key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1()), repr=False
    )

    @staticmethod
    def for_run(run_id: str, stop_after_s: float, furthest_ahead_s: float = 0.0) -> "Authority":
        """For a run that begins now and lasts so long, on machines whose wall clocks are up to so far ahead of ours."""
        until_s = time.time() + max(0.0, furthest_ahead_s) + stop_after_s + LASTS_S
        return Authority(run_id, min(until_s, LAST_S))

    @property
    def certificate(self) -> x509.Certificate:
        """Its own, signed by itself."""
        usage = _usage(signs_certificates=True)
        return self._signed(self._named(), self._key.public_key(), x509.BasicConstraints(ca=True, path_length=0), usage)

    def told(self, node: str, peers: Iterable[str]) -> dict[str, Any]:
        """What a process that begins to be this node must know to speak TLS with these peers (node_image.tls)."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(
            x509.Name([]),
            key.public_key(),
            x509.BasicConstraints(ca=False, path_length=None),
            _usage(signs_certificates=False),
            x509.SubjectAlternativeName([x509.DNSName(node)]),
        )
        secret = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return {
            "peers": sorted(peers),
            "authority": self.certificate.public_bytes(PEM).decode(),
            "own": (certificate.public_bytes(PEM) + secret).decode(),
        }

    def _named(self) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"edgebed {self.run_id}")])

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *extensions: x509.ExtensionType
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder(
            issuer_name=self._named(),
            subject_name=subject,
            public_key=key,
            serial_number=x509.random_serial_number(),
            not_valid_before=BEGINNING,
            not_valid_after=datetime.fromtimestamp(self.until_s, UTC),
        )
        for each in extensions:
            builder = builder.add_extension(each, critical=True)
        return builder.sign(self._key, hashes.SHA256())


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """Either signs certificates, or proves who it is: none does both."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
