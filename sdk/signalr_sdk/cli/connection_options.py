"""The command-line options under the heading "Connection" of the help: how to connect to a hub."""

from __future__ import annotations

import asyncio
import functools
import os
import ssl
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer evaluates the annotations of options
from typing import TYPE_CHECKING, Annotated, Any

import attrs

from .. import HubConnection, Transport
from .._http.proxies import proxy_url
from .exit_status import WRONG_USAGE, fail
from .options import Verbose, option, show_log

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

_TOKEN_VARIABLE = "SIGNALR_TOKEN"


class ProtocolName(StrEnum):
    """The hub protocols that `--protocol` accepts."""

    JSON = "json"
    MESSAGEPACK = "messagepack"


_option = functools.partial(option, panel="Connection")
_any_case = functools.partial(_option, case_sensitive=False)
_file = functools.partial(_option, metavar="FILE", exists=True, dir_okay=False)
_TOKEN_HELP = f"Bearer token; ${_TOKEN_VARIABLE} by default."
_TOKEN_FILE_HELP = "File with the bearer token, read again for each attempt."
_HEADER_HELP = "Sent with every request. Repeatable."
_TRANSPORT_HELP = "An allowed transport. Repeatable; all by default."
_PROXY_HELP = "HTTP proxy; the environment's proxy by default."


@attrs.frozen(kw_only=True)
class ConnectionOptions:
    """The checked values of the options that say how to connect to a hub, such as `--token` and `--proxy`.

    Attributes:
        arguments: keyword arguments for `HubConnection`: `access_token`, `headers`, `ssl` and `proxy`.
        transports: the allowed transports; `None` for all.
        protocol: the hub protocol; `None` if none was named.
        verbose: how often `-v` was given.
    """

    arguments: dict[str, Any] = attrs.field(repr=False)
    transports: tuple[Transport, ...] | None = None
    protocol: ProtocolName | None = None
    verbose: int = 0

    @classmethod
    def from_options(
        cls,
        *,
        token: Annotated[str | None, _option("--token", metavar="TOKEN", help=_TOKEN_HELP)] = None,
        token_file: Annotated[Path | None, _file("--token-file", help=_TOKEN_FILE_HELP)] = None,
        header: Annotated[list[str] | None, _option("--header", metavar="'NAME: VALUE'", help=_HEADER_HELP)] = None,
        protocol: Annotated[ProtocolName | None, _option("--protocol", help="Hub protocol; json by default.")] = None,
        transport: Annotated[list[Transport] | None, _any_case("--transport", help=_TRANSPORT_HELP)] = None,
        ca: Annotated[Path | None, _file("--ca", help="PEM file of a certificate authority to trust.")] = None,
        insecure: Annotated[bool, _option("--insecure", help="Do not verify the server's certificate.")] = False,
        proxy: Annotated[str | None, _option("--proxy", metavar="URL", help=_PROXY_HELP)] = None,
        verbose: Verbose = 0,
    ) -> ConnectionOptions:
        """Check the options that the user has typed, and switch on the log. A wrong option ends the command.

        `options.command` adds the parameters of this method, as options, to each command that connects to a hub.
        """
        show_log(verbose)
        if proxy is not None:
            try:
                proxy_url(proxy)
            except ValueError as error:
                fail(WRONG_USAGE, f"--proxy: {error}")
        arguments = {
            "access_token": _access_token(token, token_file),
            "headers": _headers(header or ()),
            "ssl": _verification(insecure=insecure, ca=ca),
            "proxy": proxy,
        }
        transports = tuple(transport) if transport else None
        return cls(arguments=arguments, transports=transports, protocol=protocol, verbose=verbose)

    def hub(self, url: str, **more: Any) -> HubConnection:
        """Return a connection that is not started; `more` are further arguments of `HubConnection`."""
        protocol = (self.protocol or ProtocolName.JSON).value
        return HubConnection(url, **{"protocol": protocol, "transports": self.transports, **self.arguments, **more})


def _access_token(token: str | None, file: Path | None) -> str | Callable[[], Awaitable[str]] | None:
    if token is not None and file is not None:
        fail(WRONG_USAGE, "--token and --token-file exclude each other")
    if token is not None:
        return _checked_token(token, "--token")
    if file is None:
        token = os.environ.get(_TOKEN_VARIABLE)
        return _checked_token(token, f"${_TOKEN_VARIABLE}") if token else None
    try:
        first = _checked_token(_read_token(file), "--token-file")
    except ValueError as error:
        fail(WRONG_USAGE, f"--token-file: {error}")
    # Read the file of `--token-file` before each attempt to connect: another program may have renewed the token in the
    # file. But a pipe can be read only once, so keep the token from a pipe.
    return functools.partial(asyncio.to_thread, _read_token, file) if file.is_file() else first


def _read_token(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        # Do not show the UnicodeDecodeError: its text quotes bytes of the file, which may belong to a secret.
        raise ValueError(f"{file} holds no text") from None


def _checked_token(token: str, source: str) -> str:
    if not token:
        fail(WRONG_USAGE, f"{source} is empty")
    if not (token.isascii() and token.isprintable()):
        fail(WRONG_USAGE, f"{source} holds a character that no HTTP header can carry")
    return token


def _headers(lines: Sequence[str]) -> dict[str, str]:
    headers = {}
    for number, line in enumerate(lines, 1):
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            # Do not quote the header in the error: the header may hold a secret.
            fail(WRONG_USAGE, f"--header wants 'NAME: VALUE', which number {number} is not")
        headers[name.strip()] = value.strip()
    return headers


def _verification(*, insecure: bool, ca: Path | None) -> ssl.SSLContext | bool:
    if insecure and ca is not None:
        fail(WRONG_USAGE, "--insecure and --ca exclude each other")
    if ca is None:
        return not insecure
    try:
        return ssl.create_default_context(cafile=str(ca))
    except (ssl.SSLError, OSError) as error:
        fail(WRONG_USAGE, f"--ca: {ca} holds no certificate that can be read: {error}")
