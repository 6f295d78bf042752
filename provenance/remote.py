"""Fetch what lies on the network, when the user asked for it: manifests and trust lists.

An address comes from an untrusted picture, so it must not reach what only this machine can
reach. The name is resolved once, every address it has must be public, and the connection goes
to the address that was checked; each redirect is checked the same way. No proxy is used, and
no credential is sent.
"""

import http.client
import ipaddress
import socket
import ssl
import time
from urllib.parse import urljoin, urlsplit

from counterproof import __version__
from counterproof.errors import ProvenanceError

__all__ = ["MAX_BYTES", "fetch"]

MAX_BYTES = 16 * 2**20
_TIMEOUT_S = 10.0
_MAX_REDIRECTS = 3
_PORTS = {"http": 80, "https": 443}
_REDIRECTS = (301, 302, 303, 307, 308)
_CHUNK = 2**16
# Special purposes (IANA's registries) that Python 3.11 still calls global, and IPv6 addresses
# that a gateway turns into IPv4 ones (RFC 6052, 3056, 4380).
_SPECIAL = tuple(
    map(
        ipaddress.ip_network,
        (
            "192.0.0.0/24",
            "192.88.99.0/24",
            "64:ff9b::/96",
            "64:ff9b:1::/48",
            "100::/64",
            "2001::/23",
            "2002::/16",
            "3fff::/20",
            "5f00::/16",
        ),
    )
)


def fetch(url: str, max_bytes: int = MAX_BYTES, timeout_s: float = _TIMEOUT_S) -> bytes:
    """Fetch a document from the public network.

    Args:
        url: http or https.
        max_bytes: longest answer.
        timeout_s: for everything together, redirects included.

    Raises:
        ProvenanceError: if the address is not public, does not answer, answers with an error,
            or says more than `max_bytes`.
    """
    deadline = time.monotonic() + timeout_s
    for _ in range(_MAX_REDIRECTS + 1):
        found, url = _get(url, max_bytes, deadline)
        if found is not None:
            return found
    raise ProvenanceError(f"{url}: more than {_MAX_REDIRECTS} redirects")


def public_address(host: str, port: int) -> tuple[str, int]:
    """Resolve a host and return the first of its addresses.

    Raises:
        ProvenanceError: if it has none, or any of them is not public.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as err:
        raise ProvenanceError(f"{host}: cannot be resolved ({err})") from err
    addresses = [str(item[4][0]) for item in found]
    if not addresses:
        raise ProvenanceError(f"{host}: cannot be resolved")
    for text in addresses:
        if not _is_public(text):
            raise ProvenanceError(f"{host}: {text} is not a public address; it is not fetched")
    return addresses[0], port


def _is_public(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address in network for network in _SPECIAL):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _get(url: str, max_bytes: int, deadline: float) -> tuple[bytes | None, str]:
    """Return the document, or None and where it is said to lie instead."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as err:
        raise ProvenanceError(f"{url[:200]}: not a web address") from err
    if parts.scheme not in _PORTS or not host:
        raise ProvenanceError(f"{url[:200]}: expected an http or https address")
    address = public_address(host, port or _PORTS[parts.scheme])
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = http.client.HTTPConnection(host, address[1], timeout=_left(deadline))
    try:
        plain = socket.create_connection(address, timeout=_left(deadline))
        connection.sock = (
            ssl.create_default_context().wrap_socket(plain, server_hostname=host)
            if parts.scheme == "https"
            else plain
        )
        connection.request(
            "GET",
            path,
            headers={
                "User-Agent": f"counterproof/{__version__}",
                "Accept": "*/*",
                "Accept-Encoding": "identity",
            },
        )
        answer = connection.getresponse()
        if answer.status in _REDIRECTS and (target := answer.getheader("Location")):
            return None, urljoin(url, target)
        if answer.status != 200:
            raise ProvenanceError(f"{url[:200]}: answered {answer.status}")
        return _body(connection, answer, url, max_bytes, deadline), url
    except (OSError, http.client.HTTPException, UnicodeError, ValueError) as err:
        raise ProvenanceError(f"{url[:200]}: {err or type(err).__name__}") from err
    finally:
        connection.close()


def _body(
    connection: http.client.HTTPConnection,
    answer: http.client.HTTPResponse,
    url: str,
    max_bytes: int,
    deadline: float,
) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        if connection.sock is not None:
            connection.sock.settimeout(_left(deadline))
        elif time.monotonic() > deadline:
            raise ProvenanceError(f"{url[:200]}: took too long")
        chunk = answer.read1(_CHUNK)
        if not chunk:
            return b"".join(parts)
        size += len(chunk)
        if size > max_bytes:
            raise ProvenanceError(f"{url[:200]}: answers with more than {max_bytes:,} bytes")
        parts.append(chunk)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("took too long")
    return left
