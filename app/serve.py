"""`counterproof serve`: answer questions about lost credentials over HTTP."""

import ipaddress
import socket
from contextlib import ExitStack
from typing import Any

import click

from counterproof.app.options import language_option
from counterproof.errors import MissingExtra, UserError

__all__ = ["serve"]

PREFIX = "/v1"
_LOOPBACK = ("localhost", "127.0.0.1")
_MOST_CONNECTIONS = 64


@click.command()
@click.option(
    "--store", "stores", multiple=True, metavar="FILE", help="Manifest store; the own by default."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="IPv4 address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8090, show_default=True)
@click.option(
    "--name", "names", multiple=True, metavar="HOST", help="Host name under which it is asked."
)
@click.option("-j", "workers", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option(
    "--max-megabytes",
    type=click.IntRange(1, 512),
    default=32,
    show_default=True,
    help="Largest picture that is taken.",
)
@language_option
def serve(
    stores: tuple[str, ...],
    host: str,
    port: int,
    names: tuple[str, ...],
    workers: int,
    max_megabytes: int,
    lang: str | None,
) -> None:
    """Answer C2PA's soft binding resolution API from manifest stores, at /v1.

    Only this machine can ask, unless --host names another address. Nothing is fetched and nothing
    is written. Ctrl-C ends it.
    """
    try:
        import uvicorn
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from starlette.routing import Mount

        from counterproof.app.resolution import Service, resolution_app
    except ModuleNotFoundError as err:
        raise MissingExtra(f"serving over HTTP ({err.name})", "serve") from err
    from counterproof.provenance.recovery import open_stores, store_paths
    from counterproof.settings import load_settings
    from counterproof.text import catalogue

    settings = load_settings({"stores": stores or None, "language": lang})
    paths = tuple(settings.stores if stores else store_paths(settings))
    with ExitStack() as stack:
        open_stores(paths, stack)  # a defective store is named before anybody asks
    allowed = _names(host, names)
    listening = _listen(host, port)
    address = f"http://{listening.getsockname()[0]}:{listening.getsockname()[1]}{PREFIX}"
    resolve = resolution_app(Service(settings, paths, workers, max_megabytes * 2**20))
    app = Starlette(
        routes=[Mount(PREFIX, resolve)],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=allowed, www_redirect=False)],
        lifespan=resolve.router.lifespan_context,
    )
    options: dict[str, Any] = {
        "http": "h11",
        "ws": "none",
        "log_level": "warning",
        "access_log": False,  # questions say what somebody looks for
        "server_header": False,
        "limit_concurrency": _MOST_CONNECTIONS,
        "timeout_graceful_shutdown": 5,
    }
    click.echo(catalogue(settings.language).ui("serve.ready", address=address), err=True)
    try:
        uvicorn.Server(uvicorn.Config(app, **options)).run(sockets=[listening])
    except KeyboardInterrupt:  # the usual end of a server
        return


def _names(host: str, names: tuple[str, ...]) -> list[str]:
    """Return the names under which a request is answered.

    A web page elsewhere can make a browser here ask under a name of its own (DNS rebinding), so
    other names are refused.
    """
    try:
        address = ipaddress.IPv4Address(host)
    except ValueError as err:
        raise UserError(f"--host: expected an IPv4 address such as 127.0.0.1, got {host}") from err
    if address.is_unspecified and not names:
        raise UserError(f"--host {host} listens at every address: say which --name it is asked by")
    return [*_LOOPBACK, host, *names]


def _listen(host: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
        made.listen()
    except OSError as err:
        made.close()
        raise UserError(f"cannot listen at {host}:{port}: {err.strerror}") from err
    return made
