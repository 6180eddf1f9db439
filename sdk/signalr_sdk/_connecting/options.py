"""The options that hub connections and raw connections share. They are checked when a connection is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs

from .._core import urls
from .._core.logs import ConnectionLogs
from .._http.request_sender import checked_cookies, checked_headers
from ..options import Limits, Timeouts, TransferFormat, Transport

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Iterable, Mapping

    import aiohttp
    import httpx

    from ..interfaces import HttpClient, TokenProvider


def _transports(value: str | Iterable[str] | None) -> tuple[Transport, ...]:
    """Return the transports that the user allows, in the order in which they are tried."""
    if value is None:
        return tuple(Transport)
    names = {value} if isinstance(value, str) else set(value)
    try:
        chosen = {Transport(name) for name in names}
    except ValueError:
        allowed = ", ".join(Transport)
        raise ValueError(f"transports must be one or several of {allowed}, not {value!r}") from None
    if not chosen:
        raise ValueError("transports is empty: name at least one, or leave it out for all")
    return tuple(transport for transport in Transport if transport in chosen)


def _names(value: Iterable[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        raise ValueError(  # noqa: TRY004 - as for every other argument
            f"forward_headers must be an iterable of names, such as [{value!r}], not a str"
        )
    # Use this function as the attrs converter instead of `tuple` itself: attrs reads the signature of a converter, and
    # for `tuple`, a class written in C, this makes the import of the package several milliseconds slower.
    return tuple(value)


def _headers(_options: object, _attribute: object, value: Mapping[str, str] | None) -> None:
    checked_headers(value)


def _cookies(_options: object, _attribute: object, value: Mapping[str, str] | None) -> None:
    checked_cookies(value)


def _transfer_format(value: str) -> TransferFormat:
    return TransferFormat(value.capitalize())


@attrs.frozen(kw_only=True)
class ConnectionOptions:
    """The options of one connection, all valid. `HubConnection` documents them.

    Attributes:
        stateful: whether to ask the server for stateful reconnect.
        logs: the loggers of the connection.
    """

    url: str = attrs.field(converter=urls.hub_url, repr=urls.without_query)
    transports: tuple[Transport, ...] = attrs.field(converter=_transports)
    skip_negotiation: bool
    access_token: str | TokenProvider | None = attrs.field(repr=False)
    access_token_in: Literal["header", "query"] = attrs.field(validator=attrs.validators.in_(("header", "query")))
    headers: Mapping[str, str] | None = attrs.field(repr=False, validator=_headers)
    cookies: Mapping[str, str] | None = attrs.field(repr=False, validator=_cookies)
    forward_headers: tuple[str, ...] = attrs.field(converter=_names)
    proxy: str | None = attrs.field(repr=False)
    ssl: ssl_module.SSLContext | bool
    http: aiohttp.ClientSession | httpx.AsyncClient | HttpClient | None = attrs.field(repr=False)
    timeouts: Timeouts = attrs.field(validator=attrs.validators.instance_of(Timeouts))
    limits: Limits = attrs.field(validator=attrs.validators.instance_of(Limits))
    transfer_format: TransferFormat = attrs.field(converter=_transfer_format)
    stateful: bool = False
    logs: ConnectionLogs = attrs.field(init=False, eq=False, repr=False)

    @logs.default
    def _new_logs(self) -> ConnectionLogs:
        return ConnectionLogs(urls.without_query(self.url))

    @classmethod
    def of(cls, arguments: Mapping[str, Any], **others: Any) -> ConnectionOptions:
        """Make the options from the arguments of a constructor.

        The constructors of `HubConnection` and `Connection` pass their `locals()`, so that no list has to repeat the
        name of each argument.

        Args:
            arguments: a dict from names to values. Names that are no options are ignored.
            others: further options, which also replace values in `arguments`.

        Raises:
            ValueError: an option makes no sense.
            TypeError: an option without a default is missing.
        """
        names = attrs.fields_dict(cls)
        given = {name: value for name, value in arguments.items() if name in names} | others
        if given["skip_negotiation"] and given["transports"] is None:
            given["transports"] = Transport.WEBSOCKETS
        return cls(**given)

    def __attrs_post_init__(self) -> None:
        if self.skip_negotiation and self.transports != (Transport.WEBSOCKETS,):
            raise ValueError("skip_negotiation works with transports=Transport.WEBSOCKETS only")
        binary = self.transfer_format is TransferFormat.BINARY
        if binary and self.transports == (Transport.SERVER_SENT_EVENTS,):
            raise ValueError("Server-Sent Events carry text only: MessagePack needs WebSockets or long polling")
