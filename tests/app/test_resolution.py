"""The soft binding resolution API, asked in process as any ASGI server would ask it."""

import asyncio
import base64
import dataclasses
import io
import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

pytest.importorskip("starlette")

from counterproof.app import resolution as api
from counterproof.images import ImageFile
from counterproof.provenance import jumbf
from counterproof.provenance.mark import MarkedImage, mark
from counterproof.provenance.store import ManifestStore, default_store, fingerprint
from counterproof.provenance.watermark_code import FULL
from counterproof.settings import Settings

ZIP_OF_NOTHING = b"PK\5\6" + bytes(18)


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def ids(self) -> list[str]:
        assert self.status == 200, self.body
        return [item["manifestId"] for item in self.json()["matches"]]


class Client:
    """Speaks ASGI with an app, without a socket."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def ask(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: bytes | Iterable[bytes] = b"",
        kind: str = "",
    ) -> Answer:
        sent: list[Any] = []
        parts = [body] if isinstance(body, bytes) else body

        async def messages() -> AsyncIterator[dict[str, object]]:
            for part in parts:
                yield {"type": "http.request", "body": part, "more_body": True}
            yield {"type": "http.request", "body": b"", "more_body": False}
            await asyncio.Event().wait()

        coming = messages()

        async def receive() -> dict[str, object]:
            return await anext(coming)

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"host", b"testing"), *([(b"content-type", kind.encode())] if kind else [])]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": quote(path).encode(),
            "root_path": "",
            "query_string": urlencode(query or {}).encode(),
            "headers": headers,
        }
        await self.app(scope, receive, send)
        head = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], head, b"".join(item.get("body", b"") for item in sent[1:]))

    def get(self, path: str, **query: str) -> Answer:
        return self._loop.run_until_complete(self.ask("GET", path, query))

    def post(self, path: str, body: bytes, kind: str, **query: str) -> Answer:
        return self._loop.run_until_complete(self.ask("POST", path, query, body, kind))

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return LOOP


LOOP = asyncio.new_event_loop()


def scene(seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    low = rng.normal(127, 50, (12, 16, 3)).astype(np.float32)
    large = cv2.resize(low, (640, 480), interpolation=cv2.INTER_CUBIC)
    return (large + rng.normal(0, 6, large.shape)).clip(0, 255).astype(np.uint8)


def coded(pixels: NDArray[np.uint8], quality: int = 75) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=quality)
    return out.getvalue()


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def marked(settings: Settings) -> MarkedImage:
    first = mark(scene(1), "generated", settings=settings, format="jpeg")
    mark(scene(2), "generated", settings=settings, format="jpeg", watermark=False)
    assert isinstance(first, MarkedImage)
    return first


@pytest.fixture(scope="module")
def ids(marked: MarkedImage, settings: Settings) -> list[str]:
    with ManifestStore.open(default_store(settings.home)) as store:
        return store.ids()


@pytest.fixture(scope="module")
def service(settings: Settings, marked: MarkedImage) -> api.Service:
    return api.Service(settings, (default_store(settings.home),), max_bytes=300_000)


@pytest.fixture(scope="module")
def client(service: api.Service) -> Iterable[Client]:
    app = api.resolution_app(service)
    yield Client(app)

    async def end() -> None:
        async with app.router.lifespan_context(app):
            pass

    LOOP.run_until_complete(end())


def binding(marked: MarkedImage) -> bytes:
    """Return the watermark's payload as its manifest states it."""
    from counterproof.provenance import watermark

    reading = watermark.read(marked.pixels())
    assert reading is not None
    assert reading.payload is not None
    return reading.payload.to_bytes()


def test_a_picture_leads_to_its_manifest(
    client: Client, marked: MarkedImage, ids: list[str]
) -> None:
    copy = coded(marked.pixels()[::2, ::2], 70)
    found = client.post("/matches/byContent", copy, "image/jpeg")
    assert found.ids() == [ids[0]]
    assert 90 <= found.json()["matches"][0]["similarityScore"] <= 100
    assert client.post("/matches/byContent", coded(scene(2)), "image/jpeg").ids() == [ids[1]]
    assert client.post("/matches/byContent", coded(scene(3)), "image/jpeg").ids() == []


def test_a_picture_is_looked_up_by_one_algorithm_alone(
    client: Client, marked: MarkedImage, ids: list[str]
) -> None:
    cut = coded(marked.pixels()[80:, 100:], 90)
    post = client.post
    assert post("/matches/byContent", cut, "image/jpeg", alg=FULL.algorithm).ids() == [ids[0]]
    assert post("/matches/byContent", cut, "image/jpeg", alg="counterproof.dct256.1").ids() == []
    whole = coded(marked.pixels())
    assert post("/matches/byContent", whole, "image/jpeg", alg="counterproof.dct256.1").ids() == [
        ids[0]
    ]
    refused = post("/matches/byContent", whole, "image/jpeg", alg="com.example.other")
    assert (refused.status, refused.json()["error"]) == (400, "alg.content")


def test_a_mark_on_another_picture_leads_nowhere(client: Client, marked: MarkedImage) -> None:
    lifted = marked.pixels().astype(np.float32) - scene(1)
    moved = (scene(7) + 1.5 * lifted).clip(0, 255).astype(np.uint8)
    assert client.post("/matches/byContent", coded(moved, 92), "image/jpeg").ids() == []


def test_a_hint_counts_only_where_the_content_matches(
    client: Client, marked: MarkedImage, ids: list[str]
) -> None:
    value = base64.b64encode(binding(marked)).decode()
    hint = {"hintAlg": FULL.algorithm, "hintValue": value, "alg": FULL.algorithm}
    original = coded(scene(1), 85)  # the mark is not in it, so only the hint can lead there
    assert client.post("/matches/byContent", original, "image/jpeg", alg=FULL.algorithm).ids() == []
    assert client.post("/matches/byContent", original, "image/jpeg", **hint).ids() == [ids[0]]
    assert client.post("/matches/byContent", coded(scene(3)), "image/jpeg", **hint).ids() == []
    half = client.post("/matches/byContent", original, "image/jpeg", hintAlg=FULL.algorithm)
    assert (half.status, half.json()["error"]) == (400, "value")


def test_a_binding_leads_to_its_manifest(
    client: Client, marked: MarkedImage, ids: list[str]
) -> None:
    value = base64.b64encode(binding(marked)).decode()
    asked = {"alg": FULL.algorithm, "value": value}
    assert client.get("/matches/byBinding", **asked).ids() == [ids[0]]
    body = json.dumps(asked).encode()
    assert client.post("/matches/byBinding", body, "application/json").ids() == [ids[0]]
    assert client.get("/matches/byBinding", alg=FULL.algorithm, value="AAAA").ids() == []
    assert client.get("/matches/byBinding", alg="com.adobe.trustmark.P", value=value).ids() == []
    near = fingerprint(ImageFile.open(coded(marked.pixels(), 40), name="copy"))
    assert near is not None
    text = base64.b64encode(near).decode()
    found = client.get("/matches/byBinding", alg="counterproof.dct256.1", value=text)
    assert found.ids() == [ids[0]]
    assert found.json()["matches"][0]["similarityScore"] >= 80
    assert client.get("/matches/byBinding", alg="counterproof.dct256.1", value="AAAA").ids() == []


def test_a_manifest_is_handed_out_as_it_was_signed(
    client: Client, marked: MarkedImage, settings: Settings, ids: list[str]
) -> None:
    found = client.get(f"/manifests/{ids[0]}")
    assert (found.status, found.headers["content-type"]) == (200, "application/c2pa")
    assert jumbf.embedded_stores(ImageFile.open(marked.data, name="marked")) == [found.body]
    only = client.get(f"/manifests/{ids[0]}", returnActiveManifest="true")
    assert list(jumbf.read_manifests(only.body)) == [ids[0]]
    assert only.body == found.body  # it has no ingredient
    assert client.get("/manifests/urn:c2pa:none").status == 404
    assert client.get("/manifests/" + "x" * 600).status == 400
    assert client.get(f"/manifests/{ids[0]}", returnActiveManifest="maybe").status == 400


def test_the_active_manifest_is_taken_out_of_its_store(
    marked: MarkedImage, settings: Settings
) -> None:
    again = mark(marked.data, "model-edited", settings=settings)
    (store,) = jumbf.embedded_stores(ImageFile.open(again.data, name="again"))
    both = list(jumbf.read_manifests(store))
    assert len(both) == 2
    only = jumbf.only(store, both[1])
    assert list(jumbf.read_manifests(only)) == both[1:]
    assert jumbf.read_manifests(only)[both[1]] == jumbf.read_manifests(store)[both[1]]
    assert jumbf.is_store(only)


def test_algorithms(client: Client) -> None:
    found = client.get("/services/supportedAlgorithms")
    assert found.status == 200
    named = {key: [item["alg"] for item in items] for key, items in found.json().items()}
    assert named == {
        "watermarks": ["counterproof.chip384.1", "counterproof.chip64.1"],
        "fingerprints": ["counterproof.dct256.1", "counterproof.layout32.1"],
    }


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"alg": "a"}, 400, "value"),
        ({"value": "AAAA"}, 400, "alg"),
        ({"alg": "a", "value": "not base64!"}, 400, "value"),
        ({"alg": "a", "value": ""}, 400, "value"),
        ({"alg": "a", "value": "A" * 6000}, 414, "value.long"),
        ({"alg": "a" * 600, "value": "AAAA"}, 400, "alg"),
        ({"alg": "a", "value": "AAAA", "maxResults": "0"}, 400, "most"),
        ({"alg": "a", "value": "AAAA", "maxResults": "-3"}, 400, "most"),
        ({"alg": "a", "value": "AAAA", "maxResults": "9" * 40}, 400, "most"),
    ],
)
def test_a_bad_binding_is_refused(
    client: Client, query: dict[str, str], status: int, code: str
) -> None:
    found = client.get("/matches/byBinding", **query)
    assert (found.status, found.json()["error"]) == (status, code)
    assert found.json()["detail"]


@pytest.mark.parametrize("body", [b"", b"[]", b"7", b"{", b'{"alg": "a"}', b"[" * 9000])
def test_a_bad_body_is_refused(client: Client, body: bytes) -> None:
    assert client.post("/matches/byBinding", body, "application/json").status == 400


def test_other_paths_and_methods(client: Client) -> None:
    assert client.get("/nowhere").status == 404
    assert client.get("/matches/byContent").status == 405


def test_a_bad_picture_is_refused(client: Client) -> None:
    def ask(data: bytes, kind: str = "image/jpeg") -> tuple[int, str]:
        found = client.post("/matches/byContent", data, kind)
        return found.status, found.json()["error"]

    picture = coded(scene(1))
    assert ask(picture, "text/plain") == (415, "type")
    assert ask(ZIP_OF_NOTHING) == (415, "image")
    assert ask(picture[:2000]) == (400, "image")
    assert ask(b"") == (400, "image")
    assert ask(bytes(300_001)) == (413, "body")
    huge = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(huge, "PNG")
    assert ask(huge.getvalue()) == (413, "image")


def test_a_body_is_cut_where_it_becomes_too_large(client: Client) -> None:
    seen = 0

    def endless() -> Iterable[bytes]:
        nonlocal seen
        while True:
            seen += 1
            yield bytes(100_000)

    ask = client.ask("POST", "/matches/byContent", None, endless(), "image/jpeg")
    assert LOOP.run_until_complete(ask).status == 413
    assert seen <= 5


def test_few_questions_wait_at_once(service: api.Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_BODY_TIMEOUT_S", 0.3)
    slow = Client(api.resolution_app(service))

    async def never() -> Answer:
        return await slow.ask("POST", "/matches/byContent", None, [], "image/jpeg")

    async def crowd() -> list[Answer]:
        release = asyncio.Event()

        async def hang(*_: object) -> bytes:
            await release.wait()
            raise api._refusal(408, "slow")

        monkeypatch.setattr(api, "_body", hang)
        asked = [asyncio.ensure_future(never()) for _ in range(6)]
        await asyncio.sleep(0.1)
        release.set()
        return list(await asyncio.gather(*asked))

    found = LOOP.run_until_complete(crowd())
    assert sorted(item.status for item in found) == [408] * 4 + [503] * 2
    assert next(item for item in found if item.status == 503).headers["retry-after"] == "1"


def test_an_answer_that_takes_too_long_is_ended(service: api.Service) -> None:
    short = dataclasses.replace(service, timeout_s=0.05, max_bytes=2**25)
    app = api.resolution_app(short)
    large = cv2.resize(scene(1), (4000, 3000), interpolation=cv2.INTER_CUBIC)
    found = Client(app).post("/matches/byContent", coded(np.asarray(large, np.uint8)), "image/jpeg")
    assert (found.status, found.json()["error"]) == (503, "timeout")

    async def end() -> None:
        async with app.router.lifespan_context(app):
            pass

    LOOP.run_until_complete(end())


def test_a_manifest_that_was_changed_in_the_store_is_not_handed_out(
    service: api.Service, ids: list[str], tmp_path: Path
) -> None:
    import sqlite3

    from counterproof.provenance import resolution
    from counterproof.provenance.recovery import Recovery
    from counterproof.provenance.trust import load_trust

    copy = tmp_path / "changed.sqlite"
    copy.write_bytes(service.stores[0].read_bytes())
    database = sqlite3.connect(copy)
    (data,) = database.execute("SELECT data FROM manifest WHERE id = ?", ids[:1]).fetchone()
    changed = data.replace(b"picture.jpg", b"another.jpg")
    assert changed != data
    database.execute("UPDATE manifest SET data = ? WHERE id = ?", (changed, ids[0]))
    database.commit()
    database.close()
    with ManifestStore.open(copy) as store:
        settings = service.settings
        recovery = Recovery([store], load_trust(settings.home), settings.as_of)
        assert resolution.manifest(recovery, ids[0]) is None
        assert resolution.manifest(recovery, ids[1]) is not None


def test_a_store_that_grows_is_seen(client: Client, settings: Settings) -> None:
    new = scene(11)
    assert client.post("/matches/byContent", coded(new), "image/jpeg").ids() == []
    mark(new, "generated", settings=settings, watermark=False)
    assert len(client.post("/matches/byContent", coded(new), "image/jpeg").ids()) == 1
