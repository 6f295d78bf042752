"""A certificate authority, an OCSP responder and a time-stamping authority for tests: certomancer.

Certomancer builds certificates from a description and answers as their services would; a small
server on loopback lets programs ask it over HTTP. Keys are made anew for each run.
"""

import datetime as dt
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from asn1crypto import ocsp, tsp
from certomancer.registry import ArchLabel, CertLabel, CertomancerConfig, ServiceLabel
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

DAY = dt.timedelta(days=1)
NAMES = ("root", "intermediate", "signer", "revoked", "tsa", "responder")
OCSP_URL = "http://ocsp.example.org"


class LocalPki:
    """The authority: its certificates and keys, and what its services answer.

    Attributes:
        keys: private keys, by name.
        asked: how many questions came over HTTP.
        now: when it was made; revoked certificates were revoked ten days before.
    """

    def __init__(self, folder: Path, *, signer_days: int = 30) -> None:
        self.keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in NAMES}
        for name, key in self.keys.items():
            pem = key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            (folder / f"{name}.key").write_bytes(pem)
        self.asked = 0
        self.now = dt.datetime.now(dt.UTC).replace(microsecond=0)
        self.arch = CertomancerConfig(
            _description(self.now, signer_days), key_search_dir=str(folder)
        ).get_pki_arch(ArchLabel("test"))

    def certificate(self, name: str) -> x509.Certificate:
        """Return one of the certificates, by its name in `NAMES`."""
        return x509.load_der_x509_certificate(self.arch.get_cert(CertLabel(name)).dump())

    def chain(self, name: str = "signer") -> bytes:
        """Return a certificate and the intermediate above it, PEM."""
        pair = self.certificate(name), self.certificate("intermediate")
        return b"".join(item.public_bytes(serialization.Encoding.PEM) for item in pair)

    def sign(self, data: bytes, name: str = "signer") -> bytes:
        """Sign with a key; ECDSA in DER."""
        return self.keys[name].sign(data, ec.ECDSA(hashes.SHA256()))

    def stamp(self, query: bytes) -> bytes:
        """Answer a question for a time stamp."""
        clock = self.arch.service_registry.summon_timestamper(ServiceLabel("tsa"), None)
        answer: bytes = clock.request_tsa_response(tsp.TimeStampReq.load(query)).dump()
        return answer

    def status(self, query: bytes) -> bytes:
        """Answer a question about revocation, as of yesterday and until tomorrow."""
        services = self.arch.service_registry
        responder = services.summon_responder(ServiceLabel("status"), self.now - DAY)
        answer: bytes = responder.build_ocsp_response(ocsp.OCSPRequest.load(query)).dump()
        return answer

    @contextmanager
    def clock(self) -> Iterator[str]:
        """Serve time stamps on loopback while the block runs; gives the address."""
        pki = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                pki.asked += 1
                body = pki.stamp(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            yield f"http://127.0.0.1:{server.server_port}/"
            server.shutdown()
            thread.join()


def _description(now: dt.datetime, signer_days: int) -> dict[str, Any]:
    """Return the architecture as certomancer reads it."""

    def span(days: int) -> dict[str, str]:
        first, last = now - 400 * DAY, now + days * DAY
        return {"valid-from": first.isoformat(), "valid-to": last.isoformat()}

    def extension(kind: str, value: Any, critical: bool = False) -> dict[str, Any]:
        return {"id": kind, "critical": critical, "value": value}

    def usage(*bits: str) -> dict[str, Any]:
        value = {"schema": "key-usage", "params": list(bits)}
        return {"id": "key_usage", "critical": True, "smart-value": value}

    authority = [extension("basic_constraints", {"ca": True}, True), usage("key_cert_sign")]
    signs = [
        usage("digital_signature"),
        extension("extended_key_usage", ["email_protection", "1.3.6.1.4.1.62558.2.1"]),
        {
            "id": "authority_information_access",
            "smart-value": {"schema": "aia-urls", "params": {"ocsp-responder-names": ["status"]}},
        },
    ]
    stamps = [usage("digital_signature"), extension("extended_key_usage", ["time_stamping"], True)]
    answers = [usage("digital_signature"), extension("extended_key_usage", ["ocsp_signing"])]
    revocation = {"revoked-since": (now - 10 * DAY).isoformat(), "reason": "key_compromise"}

    def issued(name: str, issuer: str, days: int, extensions: list[Any]) -> dict[str, Any]:
        about = {"subject": name, "issuer": issuer, "validity": span(days)}
        return about | {"extensions": extensions}

    return {
        "external-url-prefix": OCSP_URL,
        "keysets": {"keys": {"keys": {name: {"path": f"{name}.key"} for name in NAMES}}},
        "pki-architectures": {
            "test": {
                "keyset": "keys",
                "entity-defaults": {"organization-name": "Example Authority"},
                "entities": {name: {"common-name": f"Example {name}"} for name in NAMES},
                "certs": {
                    "root": issued("root", "root", 3650, authority),
                    "intermediate": issued("intermediate", "root", 3650, authority),
                    "signer": issued("signer", "intermediate", signer_days, signs),
                    "revoked": issued("revoked", "intermediate", signer_days, signs)
                    | {"revocation": revocation},
                    "tsa": issued("tsa", "root", 3650, stamps),
                    "responder": issued("responder", "intermediate", 3650, answers),
                },
                "services": {
                    "time-stamping": {"tsa": {"signing-cert": "tsa", "certs-to-embed": ["root"]}},
                    "ocsp": {
                        "status": {
                            "for-issuer": "intermediate",
                            "responder-cert": "responder",
                            "validity-period": {"days": 2},
                        }
                    },
                },
            }
        },
    }
