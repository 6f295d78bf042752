"""A throwaway public-key infrastructure, so that credentials are signed when a test runs."""

import datetime as dt
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from PIL import Image, ImageDraw

from counterproof.audit.verdict import decide
from counterproof.findings import Finding, Verdict
from counterproof.images import ImageFile
from counterproof.provenance import keys
from counterproof.provenance.credentials_scan import CredentialsAnalyzer
from counterproof.provenance.manifest_store import library_version
from counterproof.settings import Settings

TODAY = dt.date(2026, 11, 23)
DST = "http://cv.iptc.org/newscodes/digitalsourcetype/"
EMAIL = "1.3.6.1.5.5.7.3.4"
DOCUMENT = "1.3.6.1.5.5.7.3.36"
CLAIM_SIGNING = "1.3.6.1.4.1.62558.2.1"
TIME_STAMPING = "1.3.6.1.5.5.7.3.8"


def _name(common: str, organisation: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    ca: bool = False,
    usages: Iterable[str] = (),
    first: dt.datetime | None = None,
    last: dt.datetime | None = None,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    issuer_public = issuer_key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(first or now - dt.timedelta(days=400))
        .not_valid_after(last or now + dt.timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(
            x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False), critical=True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_public), critical=False
        )
    )
    if named := [x509.ObjectIdentifier(item) for item in usages]:
        critical = TIME_STAMPING in usages
        builder = builder.add_extension(x509.ExtendedKeyUsage(named), critical=critical)
    return builder.sign(issuer_key, hashes.SHA256())


class Authority:
    """A root, an intermediate and a signer under it."""

    def __init__(
        self,
        tag: str = "Example",
        usages: Iterable[str] = (CLAIM_SIGNING, EMAIL),
        first: dt.datetime | None = None,
        last: dt.datetime | None = None,
    ) -> None:
        keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
        self.root_key, self.middle_key, self.key = keys
        root = _name(f"{tag} Root", tag)
        middle = _name(f"{tag} Intermediate", tag)
        self.root = certificate(root, keys[0], root, keys[0], ca=True)
        self.intermediate = certificate(middle, keys[1], root, keys[0], ca=True)
        self.leaf = certificate(
            _name(f"{tag} Signer", tag),
            keys[2],
            middle,
            keys[1],
            usages=tuple(usages),
            first=first,
            last=last,
        )

    def signer(self, tsa_url: bytes | None = None) -> Any:
        import c2pa

        key = self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        chain = pem(self.leaf) + pem(self.intermediate)
        return c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", chain, key, tsa_url))


def picture(seed: int = 0, fmt: str = "JPEG", size: tuple[int, int] = (160, 120)) -> bytes:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    base = 127 + 80 * np.sin(x / 17 + seed) + 30 * np.cos(y / 11)
    noisy = base[..., None] + rng.normal(0, 6, (*base.shape, 3))
    data = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(data, fmt)
    return data.getvalue()


def edited(data: bytes) -> bytes:
    image = Image.open(io.BytesIO(data)).convert("RGB")
    ImageDraw.Draw(image).rectangle((10, 10, 60, 60), fill=(255, 0, 0))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=92)
    return out.getvalue()


def created(source_type: str | None = "trainedAlgorithmicMedia") -> dict[str, Any]:
    action: dict[str, Any] = {"action": "c2pa.created"}
    if source_type:
        action["digitalSourceType"] = DST + source_type
    return action


def flipped(data: bytes, at: int) -> bytes:
    """Return bytes with one bit of one of them changed."""
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


OPENED = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["parent0"]}}


@dataclass
class Quoted:
    data: bytes
    relationship: str = "parentOf"
    mime: str = "image/jpeg"
    title: str = "in.jpg"


@dataclass
class Signing:
    """Signs pictures and says what the analyzer finds in them."""

    folder: Path
    homes: dict[tuple[Any, ...], Path] = field(default_factory=dict)
    Ingredient = staticmethod(Quoted)
    OPENED = OPENED
    picture = staticmethod(picture)
    created = staticmethod(created)
    flipped = staticmethod(flipped)
    edited = staticmethod(edited)
    pem = staticmethod(pem)
    certificate = staticmethod(certificate)

    def context(self, *, strict: bool = True) -> Any:
        import c2pa

        library_version()
        return c2pa.Context.from_dict(
            {
                "version": 1,
                "verify": {
                    "remote_manifest_fetch": False,
                    "ocsp_fetch": False,
                    "verify_after_sign": strict,
                },
                "core": {"allowed_network_hosts": []},
                "builder": {"thumbnail": {"enabled": False}},
                "trust": {"trust_config": f"{EMAIL}\n{DOCUMENT}\n{CLAIM_SIGNING}\n"},
            }
        )

    def sign(
        self,
        authority: Authority,
        data: bytes,
        actions: list[dict[str, Any]] | None = None,
        *,
        assertions: Iterable[dict[str, Any]] = (),
        ingredients: Iterable[Quoted] = (),
        mime: str = "image/jpeg",
        embed: bool = True,
        url: str = "",
        strict: bool = True,
        tsa_url: bytes | None = None,
        extra: dict[str, Any] | None = None,
    ) -> tuple[bytes, bytes]:
        """Return the signed picture, and its manifest store."""
        import c2pa

        manifest: dict[str, Any] = {
            "claim_generator_info": [{"name": "test-suite", "version": "1"}],
            "title": "picture",
            "assertions": [
                {
                    "label": "c2pa.actions.v2",
                    "data": {"actions": [created()] if actions is None else actions},
                },
                *assertions,
            ],
            **(extra or {}),
        }
        out = io.BytesIO()
        with c2pa.Builder(manifest, self.context(strict=strict)) as builder:
            for index, item in enumerate(ingredients):
                about = {
                    "title": item.title,
                    "relationship": item.relationship,
                    "label": f"parent{index}",
                    "instance_id": f"parent{index}",
                }
                builder.add_ingredient(about, item.mime, io.BytesIO(item.data))
            if not embed:
                builder.set_no_embed()
            if url:
                builder.set_remote_url(url)
            store = builder.sign(authority.signer(tsa_url), mime, io.BytesIO(data), out)
        return out.getvalue(), bytes(store)

    def chain(
        self,
        authority: Authority,
        parent: bytes,
        actions: list[dict[str, Any]] | None = None,
        relationship: str = "parentOf",
        **options: Any,
    ) -> bytes:
        """Return an edited copy of a picture, signed with the picture as its ingredient."""
        opened: list[dict[str, Any]] = [OPENED, {"action": "c2pa.drawing"}]
        steps = opened if actions is None else actions
        made = Quoted(parent, relationship)
        return self.sign(authority, edited(parent), steps, ingredients=[made], **options)[0]

    def home(self, *signers: Authority, tsas: Iterable[x509.Certificate] = ()) -> Path:
        """Return a home in which the roots of some authorities are trusted."""
        tsas = tuple(tsas)
        key = tuple(item.root for item in signers), tsas
        if key not in self.homes:
            home = self.folder / f"home{len(self.homes)}"
            home.mkdir()
            for kind, roots in (("signer", [item.root for item in signers]), ("tsa", tsas)):
                for index, root in enumerate(roots):
                    path = home / "trust" / kind / f"{index}.pem"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(pem(root))
            self.homes[key] = home
        return self.homes[key]

    def look(
        self,
        data: bytes | ImageFile,
        *trusted: Authority,
        as_of: dt.date | None = None,
        tsas: Iterable[x509.Certificate] = (),
        online: bool = False,
    ) -> "Seen":
        """Run the analyzer and the verdict over a picture."""
        day = as_of or dt.datetime.now(dt.UTC).date()
        settings = Settings(home=self.home(*trusted, tsas=tsas), as_of=day, online=online)
        image = data if isinstance(data, ImageFile) else ImageFile.open(data)
        found = list(CredentialsAnalyzer(settings).analyze(image))
        return Seen(tuple(item for item in found if isinstance(item, Finding)))


@dataclass(frozen=True)
class Seen:
    """What was found in one picture."""

    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        return decide(self.findings)

    @property
    def status(self) -> str:
        return self.verdict.status.value

    @property
    def manifest(self) -> Finding:
        found = [item for item in self.findings if item.code.startswith("c2pa.manifest.")]
        assert len(found) == 1
        json.dumps(found[0].details)  # nothing but JSON values
        return found[0]

    @property
    def state(self) -> str:
        return self.manifest.state

    @property
    def details(self) -> dict[str, Any]:
        return self.manifest.details

    @property
    def answers(self) -> tuple[str, ...]:
        """The five answers: integrity, trust, time, history, origin."""
        return tuple(self.details["answers"].values())

    def coded(self, code: str) -> Finding | None:
        return next((item for item in self.findings if item.code == code), None)


@pytest.fixture(scope="session")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Signing:
    """A place to sign and to look."""
    return Signing(tmp_path_factory.mktemp("signing"))


@pytest.fixture(scope="session")
def authority() -> Authority:
    """A signer whom a test may trust or not."""
    return Authority("Example Newsroom")


@pytest.fixture(scope="session")
def other() -> Authority:
    """Another one."""
    return Authority("Example Studio")


@pytest.fixture(scope="session")
def make_authority() -> Callable[..., Authority]:
    """The maker of further ones."""
    return Authority


@pytest.fixture(scope="session")
def intact(signing: Signing, authority: Authority) -> bytes:
    """A picture that its signed credential calls machine-made."""
    note = {"label": "org.example.note", "data": {"note": "HELLO-NOTE"}}
    return signing.sign(authority, picture(), assertions=[note])[0]


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home in which Example Press has its signing identity."""
    home = tmp_path_factory.mktemp("home")
    keys.init_identity(home, "Example Press")
    return Settings(home=home)
