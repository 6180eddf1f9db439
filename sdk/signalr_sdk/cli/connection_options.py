"""The command-line options under the heading "Connection" of the help: which hub, and how to connect to it."""

from __future__ import annotations

import asyncio
import functools
import os
import re
import ssl
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import attrs
import typer

from .. import HubConnection, Transport
from .._core import urls
from .._http.proxies import proxy_url
from . import exit_status
from .exit_status import WRONG_USAGE, fail
from .option_words import in_options
from .options import Verbose, existing_file, option, show_log
from .saved_contexts import SavedContext, saved_context

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

T = TypeVar("T")

TOKEN_VARIABLE = "SIGNALR_TOKEN"
URL_VARIABLE = "SIGNALR_URL"
_COMES_FIRST = f"; the hub's URL comes first, or set {URL_VARIABLE}, or use --context"
_NOT_OF_TOKENS = re.compile("[ \"']")
# A text that is almost a URL: the scheme or a slash is missing.
_ALMOST = re.compile(r"(?i)(?:(https?|wss?)(?::/?|//)|//)?([\w\[].*|:\d.*)")


class ProtocolName(StrEnum):
    """The hub protocols that `--protocol` accepts."""

    JSON = "json"
    MESSAGEPACK = "messagepack"


_PROTOCOLS = {"json": ProtocolName.JSON, "messagepack": ProtocolName.MESSAGEPACK, "msgpack": ProtocolName.MESSAGEPACK}
_TRANSPORTS = {
    **{name.lower(): name for name in Transport},
    "ws": Transport.WEBSOCKETS,
    "sse": Transport.SERVER_SENT_EVENTS,
    "lp": Transport.LONG_POLLING,
}


def _protocol(text: str) -> ProtocolName:
    if text.lower() not in _PROTOCOLS:
        raise typer.BadParameter(f"{text!r} is no hub protocol; write json or msgpack")
    return _PROTOCOLS[text.lower()]


def _transport(text: str) -> Transport:
    if text.lower() not in _TRANSPORTS:
        raise typer.BadParameter(f"{text!r} is no transport; write ws, sse or lp")
    return _TRANSPORTS[text.lower()]


_option = functools.partial(option, panel="Connection")
_file = functools.partial(_option, metavar="FILE", parser=existing_file)
_TOKEN_HELP = f"Bearer token; - reads it from standard input. ${TOKEN_VARIABLE} by default."
_TOKEN_FILE_HELP = "File with the bearer token, read again for each attempt."
_HEADER_HELP = "Sent with every request; @FILE for a file of such lines. Repeatable."
_PROTOCOL_HELP = "Hub protocol: json (the default) or msgpack."
_TRANSPORT_HELP = "An allowed transport: ws, sse or lp. Repeatable; all by default."
_PROXY_HELP = "HTTP proxy; the environment's proxy by default."


Protocol = Annotated[ProtocolName | None, _option("--protocol", metavar="NAME", parser=_protocol, help=_PROTOCOL_HELP)]
Transports = Annotated[
    list[Transport] | None, _option("--transport", metavar="NAME", parser=_transport, help=_TRANSPORT_HELP)
]
TokenFile = Annotated[Path | None, _file("--token-file", help=_TOKEN_FILE_HELP)]
Headers = Annotated[list[str] | None, _option("--header", "-H", metavar="'NAME: VALUE'", help=_HEADER_HELP)]
Authority = Annotated[Path | None, _file("--ca", help="PEM file of a certificate authority to trust.")]
Insecure = Annotated[bool, _option("--insecure", help="Do not verify the server's certificate.")]
Proxy = Annotated[str | None, _option("--proxy", metavar="URL", help=_PROXY_HELP)]


@attrs.frozen(kw_only=True)
class ConnectionOptions:
    """The checked values of the options that say how to connect to a hub, such as `--token` and `--proxy`.

    Attributes:
        arguments: keyword arguments for `HubConnection`: `access_token`, `headers`, `ssl` and `proxy`.
        transports: the allowed transports; `None` for all.
        protocol: the hub protocol; `None` if none was named.
        verbose: how often `-v` was given.
        context: the name of the context whose options these are; `None` for none.
        url: the hub's URL of the context, or of the environment; `None` if neither gives one.
        token_source: where the bearer token comes from, for example `SIGNALR_TOKEN`; `None` without a token.
    """

    arguments: dict[str, Any] = attrs.field(repr=False)
    transports: tuple[Transport, ...] | None = None
    protocol: ProtocolName | None = None
    verbose: int = 0
    context: str | None = None
    url: str | None = attrs.field(default=None, repr=False)
    token_source: str | None = None

    @classmethod
    def from_options(
        cls,
        *,
        context: Annotated[
            str | None, _option("--context", metavar="NAME", help="A hub that signalr context add has stored.")
        ] = None,
        token: Annotated[str | None, _option("--token", metavar="TOKEN", help=_TOKEN_HELP)] = None,
        token_file: TokenFile = None,
        header: Headers = None,
        protocol: Protocol = None,
        transport: Transports = None,
        ca: Authority = None,
        insecure: Insecure = False,
        proxy: Proxy = None,
        verbose: Verbose = 0,
    ) -> ConnectionOptions:
        """Check the options that the user has typed, and switch on the log. A wrong option ends the command.

        `options.command` adds the parameters of this method, as options, to each command that connects to a hub.
        """
        show_log(verbose)
        saved = saved_context(context) if context is not None else SavedContext(url=os.environ.get(URL_VARIABLE, ""))
        is_typed = token is not None or token_file is not None
        file, owner = (token_file, None) if is_typed else (_path(saved.token_file), context)
        access_token, token_source = _access_token(token, file, context=owner)
        headers = _headers(header or saved.header)
        if token_source is None and any(name.lower() == "authorization" for name in headers):
            token_source = "the header Authorization"
        arguments = {
            "access_token": access_token,
            "headers": headers,
            "ssl": _verification(insecure=insecure or (saved.insecure and ca is None), ca=ca or _path(saved.ca)),
            "proxy": _checked_proxy(proxy or saved.proxy),
        }
        return cls(
            arguments=arguments,
            transports=tuple(transport or map(_transport, saved.transport)) or None,
            protocol=protocol or (_protocol(saved.protocol) if saved.protocol else None),
            verbose=verbose,
            context=context,
            url=saved.url or None,
            token_source=token_source,
        )

    def run(self, work: Awaitable[T], **more: Any) -> T:
        """Run the work of a command, as `exit_status.run` does. `more` are further arguments of that function."""
        return exit_status.run(work, token_source=self.token_source, **more)

    def hub(self, url: str, **more: Any) -> HubConnection:
        """Return a connection that is not started; `more` are further arguments of `HubConnection`."""
        protocol = (self.protocol or ProtocolName.JSON).value
        return HubConnection(url, **{"protocol": protocol, "transports": self.transports, **self.arguments, **more})

    def hub_url(self, typed: str | None) -> str:
        """Return the hub's URL: the one that the user has typed, or that of the context or the environment."""
        url, _rest = self.split_url([typed] if typed is not None else [])
        return url

    def split_url(self, words: Sequence[str]) -> tuple[str, list[str]]:
        """Return the hub's URL and the other words of the command line.

        If a context or the environment gives the URL, the first word is the URL only if it has `://` in it.
        """
        if words and (self.url is None or "://" in words[0]):
            url, rest = checked_url(words[0], hint=_COMES_FIRST), list(words[1:])
            if self.context is not None and self.url is not None:
                self._check_origin(url)
            return url, rest
        if self.url is None:
            fail(WRONG_USAGE, f"the hub's URL is missing; name it, set {URL_VARIABLE}, or use --context")
        return checked_url(self.url, "" if self.context is not None else f"{URL_VARIABLE}: "), list(words)

    def _check_origin(self, url: str) -> None:
        # The context's token and headers are for the context's server only.
        if urls.origin(url) != urls.origin(checked_url(self.url or "")):
            fail(WRONG_USAGE, f"--context {self.context} is for another server than the URL; leave out one of them")


def checked_url(text: str, where: str = "", *, hint: str = "") -> str:
    """Return a hub's URL with its scheme. A text that is no URL ends the command.

    A server on this machine needs no scheme: `localhost:5000/chat` is `http://localhost:5000/chat`.

    Args:
        text: what the user has written.
        where: where it is written, for the begin of the error text.
        hint: what else to do, for the end of the error text.
    """
    host = text.partition("/")[0].partition("?")[0]
    name = host.rpartition(":")[0] or host
    if "://" not in text and (name == "localhost" or name.startswith("127.") or name == "[::1]"):
        text = f"http://{text}"
    try:
        return urls.hub_url(text)
    except ValueError as error:
        _refuse_url(text, str(error), where, hint)


def _refuse_url(text: str, why: str, where: str, hint: str) -> NoReturn:
    if "://" in text or "@" in text or not text.isprintable():
        fail(WRONG_USAGE, f"{where}{in_options(why)}")
    shown = urls.without_query(text)[:60]
    meant = _meant_url(shown) if shown == text else None
    if meant is not None:
        fail(WRONG_USAGE, f"{where}{shown!r} is no URL; write {meant}")
    fail(WRONG_USAGE, f"{where}{shown!r} is no URL such as https://example.com/chat or localhost:5000/chat{hint}")


def _meant_url(text: str) -> str | None:
    """Return the URL that a text probably stands for, such as `example.com/chat` or `:5000/chat`; `None` if unclear."""
    parts = _ALMOST.fullmatch(text) if "/" in text or ":" in text else None
    if parts is None:
        return None
    scheme, rest = parts.groups()
    is_port = rest.startswith(":") or rest.partition("/")[0].isdecimal()
    url = f"http://localhost:{rest.removeprefix(':')}" if is_port else f"{scheme or 'https'}://{rest}"
    try:
        urls.hub_url(url)
    except ValueError:
        return None
    return url


def checked_options(context: SavedContext) -> None:
    """Check the options of a context before it is stored. A wrong option ends the command."""
    if context.token_file is not None:
        _access_token(None, Path(context.token_file), context=None)
    _headers(context.header)
    _verification(insecure=context.insecure, ca=_path(context.ca))
    _checked_proxy(context.proxy)


def _path(text: str | None) -> Path | None:
    return Path(text) if text is not None else None


def _checked_proxy(proxy: str | None) -> str | None:
    if proxy is not None:
        try:
            proxy_url(proxy)
        except ValueError as error:
            fail(WRONG_USAGE, f"--proxy: {in_options(str(error))}")
    return proxy


def _access_token(
    token: str | None, file: Path | None, *, context: str | None
) -> tuple[str | Callable[[], Awaitable[str]] | None, str | None]:
    """Return the bearer token, or a function that reads it, and where it comes from; twice `None` without a token.

    Args:
        token: the value of `--token`.
        file: the file with the token.
        context: the context that names the file; `None` if `--token-file` does.
    """
    if token is not None and file is not None:
        fail(WRONG_USAGE, "--token and --token-file exclude each other; leave out one of them")
    if token == "-":
        return _checked_token(_read_line(), "standard input, for --token -,"), "standard input"
    if token is not None:
        return _checked_token(token, "--token"), "--token"
    if file is None:
        token = os.environ.get(TOKEN_VARIABLE)
        return (_checked_token(token, f"${TOKEN_VARIABLE}"), TOKEN_VARIABLE) if token else (None, None)
    try:
        first = _checked_token(_read_token(file), "--token-file")
    except ValueError as error:
        fail(WRONG_USAGE, f"--token-file: {error}; name a file with the token")
    # Read the file of `--token-file` before each attempt to connect: another program may have renewed the token in the
    # file. But a pipe can be read only once, so keep the token from a pipe.
    read = functools.partial(asyncio.to_thread, _read_token, file) if file.is_file() else first
    return read, f"--token-file {file}" if context is None else f"context {context} (file {file})"


def _read_line() -> str:
    if sys.stdin.isatty():
        # Do not show the token on the terminal. Import getpass only here: only this case needs it.
        import getpass

        return getpass.getpass("Token: ", sys.stderr)
    # Read no more than one line: `--upload -` may read the lines after it. Read bytes one by one, because the buffer of
    # `sys.stdin` would take more than the line.
    line = bytearray()
    while (byte := os.read(sys.stdin.fileno(), 1)) not in (b"", b"\n"):
        line += byte
    return line.decode("utf-8", "replace")


def _read_token(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        # Do not show the UnicodeDecodeError: its text quotes bytes of the file, which may belong to a secret.
        raise ValueError(f"{file} holds no text") from None


def _checked_token(token: str, source: str) -> str:
    token = token.strip()
    if token.lower().startswith("bearer "):
        token = token[7:].strip()
    if not token:
        fail(WRONG_USAGE, f"{source} is empty; give a token, or leave it out")
    if not (token.isascii() and token.isprintable()):
        fail(WRONG_USAGE, f"{source} holds a character that no HTTP header can carry; give the token alone")
    if _NOT_OF_TOKENS.search(token):
        fail(WRONG_USAGE, f"{source} holds a blank or a quotation mark, which no token has; give the token alone")
    return token


def _headers(given: Sequence[str]) -> dict[str, str]:
    headers = {}
    for number, text in enumerate(given, 1):
        for line in _header_lines(text):
            name, colon, value = line.partition(":")
            if not colon or not name.strip():
                # Do not quote the header in the error: the header may hold a secret.
                where = text if text.startswith("@") else f"number {number}"
                fail(WRONG_USAGE, f"--header: {where} is no header; write 'NAME: VALUE'")
            headers[name.strip()] = value.strip()
    return headers


def _header_lines(text: str) -> list[str]:
    if not text.startswith("@"):
        return [text]
    try:
        lines = Path(text[1:]).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it holds no text"
        fail(WRONG_USAGE, f"--header: cannot read {text[1:]}: {why}; name a file of lines NAME: VALUE")
    return [line for line in lines if line.strip()]


def _verification(*, insecure: bool, ca: Path | None) -> ssl.SSLContext | bool:
    if insecure and ca is not None:
        fail(WRONG_USAGE, "--insecure and --ca exclude each other; leave out one of them")
    if ca is None:
        return not insecure
    try:
        return ssl.create_default_context(cafile=str(ca))
    except (ssl.SSLError, OSError) as error:
        fail(WRONG_USAGE, f"--ca: {ca} holds no certificate that can be read ({_reason(error)}); name a PEM file")


def _reason(error: OSError) -> str:
    return str(getattr(error, "reason", None) or error.strerror or error).replace("_", " ").lower()
