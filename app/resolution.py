"""C2PA's Soft Binding Resolution API as an ASGI app: which credential belongs to this picture?

    GET, POST /matches/byBinding          a watermark or fingerprint that somebody has read
    POST      /matches/byContent          a picture
    GET       /manifests/{id}             the manifest store itself
    GET       /services/supportedAlgorithms

`counterproof serve` runs it at `/v1`; any ASGI server can, and any ASGI app can mount it.

Whoever asks is a stranger. Every question is answered in a worker process under a time limit, so
that a picture which hangs or crashes its decoder costs one answer; bodies and values have a
largest size, and only a few questions wait at once. Private watermark keys are never used here:
who may ask often enough learns what a key reads. Nothing is fetched, nothing is written.

Source: C2PA Soft Binding Resolution API 1.0.0 (C2PA 2.2); 408, 413 and 503 are HTTP's (RFC 9110).
"""

import asyncio
import base64
import binascii
import functools
import json
import multiprocessing
import re
import signal
from collections.abc import AsyncIterator, Callable
from concurrent.futures import TimeoutError as TookTooLong
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pebble import ProcessExpired, ProcessPool
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from counterproof.errors import CounterproofError, ImageError
from counterproof.images import ImageFile
from counterproof.provenance import resolution
from counterproof.provenance.recovery import Recovery, open_stores
from counterproof.provenance.store import MAX_VALUE_BYTES
from counterproof.settings import Limits, Settings
from counterproof.text import catalogue

__all__ = ["Service", "resolution_app"]

MANIFEST_TYPE = "application/c2pa"
MAX_RESULTS = 100
DEFAULT_RESULTS = 10
"""Source: the API's `maxResults`."""

_MAX_JSON = 4 * MAX_VALUE_BYTES
_MAX_NAME = 512
_NAME = re.compile(r"[\x21-\x7e]+")
_BODY_TIMEOUT_S = 30.0
_WAITING_PER_WORKER = 4
_IMAGE_TYPES = ("image/", "application/octet-stream")
_STATUS_OF_CAUSE = {"too_large": 413, "too_many_pixels": 413, "unknown_format": 415}

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Service:
    """What is served, and what one question may cost.

    Attributes:
        settings: of the server; its private keys are not used.
        stores: files of the manifest stores.
        workers: processes that answer, at least 1.
        max_bytes: largest picture.
        timeout_s: longest answer.
    """

    settings: Settings
    stores: tuple[Path, ...]
    workers: int = 1
    max_bytes: int = 32 * 2**20
    timeout_s: float = 20.0

    def limits(self) -> Limits:
        """Return what one picture may cost: never more than the settings allow."""
        limits = self.settings.limits
        return Limits(
            max_bytes=min(self.max_bytes, limits.max_bytes),
            max_pixels=min(100_000_000, limits.max_pixels),
            max_frames=limits.max_frames,
            max_block_bytes=limits.max_block_bytes,
            max_decode_bytes=limits.max_decode_bytes,
        )


# -- in a worker process ----------------------------------------------------------------------


def _start() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    import cv2

    cv2.setNumThreads(1)


@functools.cache  # one per worker process
def _recovery(service: Service) -> Recovery:
    from counterproof.provenance.trust import load_trust

    stores = open_stores(service.stores, ExitStack())  # open as long as the process lives
    return Recovery(stores, load_trust(service.settings.home), service.settings.as_of)


def _algorithms(service: Service) -> resolution.Algorithms:
    return resolution.algorithms(_recovery(service))


def _by_binding(service: Service, alg: str, value: bytes, most: int) -> list[resolution.Match]:
    return resolution.by_binding(_recovery(service), alg, value, most)


def _by_content(
    service: Service, data: bytes, most: int, alg: str, hint: tuple[str, bytes] | None
) -> list[resolution.Match] | str:
    """Return matches, or the cause for which the picture cannot be read."""
    try:
        image = ImageFile.open(data, name="content", limits=service.limits())
        return resolution.by_content(_recovery(service), image, most, alg, hint)
    except ImageError as err:
        return err.cause


def _manifest(service: Service, name: str, active_only: bool) -> bytes | None:
    return resolution.manifest(_recovery(service), name, active_only)


class _Workers:
    """Processes that answer; each question has a time limit, and few may wait."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._pool: ProcessPool | None = None
        self._waiting = 0

    async def ask(self, function: Callable[..., Answer], *arguments: object) -> Answer:
        """Let a worker answer.

        Raises:
            HTTPException: 503 if it takes too long; 500 if it fails.
        """
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPool(self._service.workers, context=context, initializer=_start)
        future = self._pool.schedule(
            function, args=[self._service, *arguments], timeout=self._service.timeout_s
        )
        try:
            return await asyncio.wrap_future(future)
        except TookTooLong as err:
            raise _refusal(503, "timeout") from err
        except (ProcessExpired, CounterproofError) as err:
            raise _refusal(500, "failed") from err

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold one of the places for questions.

        Raises:
            HTTPException: 503 if all are taken.
        """
        if self._waiting >= _WAITING_PER_WORKER * self._service.workers:
            raise _refusal(503, "busy")
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()
            self._pool = None


# -- questions --------------------------------------------------------------------------------


def resolution_app(service: Service) -> Starlette:
    """Make the app. Its worker processes start with the first question.

    An app that mounts it need not run its lifespan: the workers end with their parent.
    """
    workers = _Workers(service)
    words = catalogue(service.settings.language)

    async def by_binding(request: Request) -> Response:
        async with workers.place():
            query: Any = request.query_params
            most = _most(request)
            if request.method == "POST":
                try:
                    query = json.loads(await _body(request, _MAX_JSON))
                except (ValueError, RecursionError) as err:
                    raise _refusal(400, "json") from err
            if not isinstance(query, dict) and request.method == "POST":
                raise _refusal(400, "json")
            alg = _alg(query.get("alg"))
            value = _value(query.get("value"), 414 if request.method == "GET" else 400)
            found = await workers.ask(_by_binding, alg, value, most)
        return _matches(found)

    async def by_content(request: Request) -> Response:
        query = request.query_params
        kind = request.headers.get("content-type", "").lower()
        if not kind.startswith(_IMAGE_TYPES):
            raise _refusal(415, "type")
        alg, most, hint = query.get("alg", ""), _most(request), None
        if alg and alg not in resolution.CONTENT_WAYS:
            raise _refusal(400, "alg.content")
        if "hintAlg" in query or "hintValue" in query:
            hint = _alg(query.get("hintAlg")), _value(query.get("hintValue"), 414)
        async with workers.place():
            data = await _body(request, service.max_bytes)
            found = await workers.ask(_by_content, data, most, alg, hint)
        if isinstance(found, str):
            raise _refusal(_STATUS_OF_CAUSE.get(found, 400), "image")
        return _matches(found)

    async def manifest(request: Request) -> Response:
        name = request.path_params["name"]
        only = request.query_params.get("returnActiveManifest", "false").lower()
        if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
            raise _refusal(400, "manifest")
        if only not in ("true", "false"):
            raise _refusal(400, "boolean")
        async with workers.place():
            data = await workers.ask(_manifest, name, only == "true")
        if data is None:
            raise _refusal(404, "unknown")
        return Response(data, media_type=MANIFEST_TYPE)

    async def algorithms(_: Request) -> Response:
        async with workers.place():
            found = await workers.ask(_algorithms)
        named = {"watermarks": found.watermarks, "fingerprints": found.fingerprints}
        return JSONResponse({key: [{"alg": alg} for alg in algs] for key, algs in named.items()})

    async def refused(_: Request, err: Exception) -> Response:
        assert isinstance(err, HTTPException)
        code = err.detail if err.detail in _CODES else f"http.{err.status_code}"
        says = words.ui(f"serve.error.{code}") if code in _CODES else err.detail
        headers = dict(err.headers or {})
        return JSONResponse({"error": code, "detail": says}, err.status_code, headers)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            workers.close()

    return Starlette(
        routes=[
            Route("/matches/byBinding", by_binding, methods=["GET", "POST"]),
            Route("/matches/byContent", by_content, methods=["POST"]),
            Route("/manifests/{name}", manifest),
            Route("/services/supportedAlgorithms", algorithms),
        ],
        exception_handlers={HTTPException: refused},
        lifespan=lifespan,
    )


_CODES = frozenset(
    {
        *("alg", "alg.content", "body", "boolean", "busy", "failed", "image", "json", "manifest"),
        *("most", "slow", "timeout", "type", "unknown", "value", "value.long"),
    }
)


def _refusal(status: int, code: str) -> HTTPException:
    return HTTPException(status, code, {"Retry-After": "1"} if status == 503 else None)


def _most(request: Request) -> int:
    text = request.query_params.get("maxResults", str(DEFAULT_RESULTS))
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) >= 1):
        raise _refusal(400, "most")
    return min(int(text), MAX_RESULTS)


def _alg(value: object) -> str:
    if not isinstance(value, str) or len(value) > _MAX_NAME or not _NAME.fullmatch(value):
        raise _refusal(400, "alg")
    return value


def _value(text: object, too_long: int) -> bytes:
    """Read Base64, also as `curl` sends it in a query where `+` means a space."""
    if not isinstance(text, str):
        raise _refusal(400, "value")
    if len(text) > MAX_VALUE_BYTES * 4 // 3 + 4:
        raise _refusal(too_long, "value.long")
    plain = text.translate(str.maketrans(" -_", "++/"))
    try:
        data = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as err:
        raise _refusal(400, "value") from err
    if not data:
        raise _refusal(400, "value")
    return data


async def _body(request: Request, most: int) -> bytes:
    """Read a body of at most so many bytes, whatever its header says, in limited time."""
    parts, size = [], 0
    try:
        async with asyncio.timeout(_BODY_TIMEOUT_S):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise _refusal(413, "body")
                parts.append(part)
    except TimeoutError as err:
        raise _refusal(408, "slow") from err
    return b"".join(parts)


def _matches(found: list[resolution.Match]) -> JSONResponse:
    rows: list[dict[str, object]] = []
    for match in found:
        row: dict[str, object] = {"manifestId": match.manifest}
        if match.score is not None:
            row["similarityScore"] = match.score
        rows.append(row)
    return JSONResponse({"matches": rows})
