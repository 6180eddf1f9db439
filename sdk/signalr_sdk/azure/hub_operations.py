"""The operations of the REST API on a hub: send events, invoke clients, manage groups, find and close connections."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from ..errors import AzureSignalRError, InvocationTimeoutError
from ..options import UNSET, Timeouts, Unset, is_count
from . import names, rest_responses
from .fan_out import fan_out
from .paging import GroupConnection, pages
from .payloads import BOTH, JSON, Payload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from ..interfaces import HttpRequest
    from .rest_client import RestClient

_logger = logging.getLogger("signalr_sdk.http")

# The error codes by which the service says that a connection, user or group does not exist.
_NO_CONNECTION = ("Warning.Connection.NotExisted", "Error.Connection.NotExisted")
_NO_USER = ("Warning.User.NotExisted",)
_NO_GROUP = ("Warning.Group.NotExisted",)
_NOT_IN_GROUP = ("Info.User.NotInGroup", *_NO_USER, *_NO_GROUP)

_Pair: TypeAlias = tuple[str, str | int | None]


class HubOperations:
    """The methods of `AzureSignalR` that send one REST request, or one for each of many users, groups or connections.

    Args:
        rest: sends the requests to the service.
        hub: the hub's name as the service knows it: in lower case, with the application's name before it.
        timeouts: `Timeouts.invoke` is the default time limit of `invoke_connection`.
    """

    def __init__(self, rest: RestClient, hub: str, *, timeouts: Timeouts) -> None:
        self._rest = rest
        self._hub = hub
        self._hub_path = f"hubs/{names.segment('hub', hub)}"
        self._timeouts = timeouts

    @property
    def hub(self) -> str:
        """The hub's name as the service knows it: in lower case, with the application's name before it."""
        return self._hub

    # Sending

    async def send_all(self, event: str, *args: Any, excluded: Iterable[str] = ()) -> None:
        """Send an event to all clients of the hub.

        Args:
            event: name of the event.
            args: arguments of the event: values as for `HubConnection.send`, but no uploads.
            excluded: ids of the connections that do not get the event.
        """
        await self._send("", Payload.make(event, args), *_excluded(excluded))

    async def send_user(self, user: str, event: str, *args: Any) -> None:
        """Send an event to all connections of a user."""
        await self._send(f"/users/{names.segment('user', user)}", Payload.make(event, args))

    async def send_users(self, users: Iterable[str], event: str, *args: Any) -> None:
        """Send an event to all connections of several users. One request is sent for each user, up to 16 at a time.

        Raises:
            ExceptionGroup: some requests failed. The group has an `AzureSignalRError` for each user who was not
                reached; the attribute `target` of the error is the user.
        """
        await self._send_each("user", users, event, args)

    async def send_group(self, group: str, event: str, *args: Any, excluded: Iterable[str] = ()) -> None:
        """Send an event to all connections in a group, except the `excluded` connection ids."""
        await self._send(f"/groups/{names.segment('group', group)}", Payload.make(event, args), *_excluded(excluded))

    async def send_groups(self, groups: Iterable[str], event: str, *args: Any) -> None:
        """Send an event to several groups, with one request for each group, as `send_users` does for users.

        A connection in two of the groups gets the event twice.
        """
        await self._send_each("group", groups, event, args)

    async def send_connection(self, connection_id: str, event: str, *args: Any) -> None:
        """Send an event to the client of one connection."""
        await self._send(f"/connections/{names.segment('connection', connection_id)}", Payload.make(event, args))

    async def send_connections(self, connection_ids: Iterable[str], event: str, *args: Any) -> None:
        """Send an event to several connections, with one request for each, as `send_users` does for users."""
        await self._send_each("connection", connection_ids, event, args)

    async def invoke_connection(
        self, connection_id: str, method: str, *args: Any, timeout: float | Unset | None = UNSET
    ) -> Any:
        """Invoke a handler of one client, and return the client result: the return value of the handler.

        Args:
            connection_id: id of the client's connection.
            method: name under which the client has registered the handler.
            args: arguments of the handler; only types that JSON has.
            timeout: seconds for the whole call; `None` for the service's own limit; `Timeouts.invoke` by default.

        Raises:
            InvocationTimeoutError: there was no result within `timeout`. The handler may or may not have run.
            AzureSignalRError: the client has no handler of this name, has answered with an error, or is not connected.
        """
        path = f"/connections/{names.segment('connection', connection_id)}/:invoke"
        request = self._request("POST", path, body=Payload.make(method, args).json, content_type=JSON)
        limit = self._timeouts.invoke if isinstance(timeout, Unset) else timeout
        try:
            # A TimeoutError at this place means that `limit` is over: `RestClient` turns a TimeoutError of the HTTP
            # client into an AzureSignalRError.
            async with asyncio.timeout(limit):
                response = await self._rest.ask(attrs.evolve(request, timeout=None), sends=True)
        except TimeoutError:
            raise InvocationTimeoutError(f"'{method}' did not end within {limit:g} s") from None
        return rest_responses.members(request, response).get("result")

    async def _send_each(self, what: str, targets: Iterable[str], event: str, args: tuple[Any, ...]) -> None:
        payload = Payload.make(event, args)

        async def send(target: str) -> None:
            await self._send(f"/{what}s/{names.segment(what, target)}", payload)

        await fan_out(what, names.several(what, targets), send)

    async def _send(self, path: str, payload: Payload, *pairs: _Pair) -> None:
        path = f"{path}/:send"
        if payload.both is not None:
            try:
                await self._ask("POST", path, *pairs, body=payload.both, content_type=BOTH, sends=True)
            except AzureSignalRError as error:
                if error.status != 415:
                    raise
                _logger.warning("the service takes JSON only: bytes and times reach MessagePack clients as text")
            else:
                return
        await self._ask("POST", path, *pairs, body=payload.json, content_type=JSON, sends=True)

    # Groups

    async def add_to_group(self, connection_id: str, group: str) -> None:
        """Add a connection to a group. The connection stays in the group until the connection ends.

        Raises:
            AzureSignalRError: the connection does not exist.
        """
        await self._ask("PUT", _member("group", group, "connection", connection_id))

    async def remove_from_group(self, connection_id: str, group: str) -> None:
        """Remove a connection from a group. Does nothing if the connection is not in the group."""
        await self._unless_missing(
            "DELETE", _NO_CONNECTION + _NO_GROUP, _member("group", group, "connection", connection_id)
        )

    async def remove_from_all_groups(self, connection_id: str) -> None:
        """Remove a connection from all groups. Does nothing if the connection does not exist."""
        await self._unless_missing(
            "DELETE", _NO_CONNECTION, f"/connections/{names.segment('connection', connection_id)}/groups"
        )

    async def add_user_to_group(self, user: str, group: str, ttl: int | None = None) -> None:
        """Add all connections of a user to a group, also connections that the user makes later.

        Args:
            user: the user's id.
            group: the group's name.
            ttl: whole seconds after which the service removes the user from the group; 0 adds only the present
                connections. Without a `ttl`, the user stays in the group for a year; the service
                keeps only the last 100 groups to which a user was added.
        """
        if not (ttl is None or ttl == 0 or is_count(ttl)):
            raise ValueError(f"ttl must be a whole number of seconds from 0 on, or None, not {ttl!r}")
        await self._ask("PUT", _member("user", user, "group", group), ("ttl", ttl))

    async def remove_user_from_group(self, user: str, group: str) -> None:
        """Remove a user from a group. Does nothing if the user is not in the group."""
        await self._unless_missing("DELETE", _NOT_IN_GROUP, _member("user", user, "group", group))

    async def remove_user_from_all_groups(self, user: str) -> None:
        """Remove all connections of a user from all groups. Does nothing if the user does not exist."""
        await self._unless_missing("DELETE", _NO_USER, f"/users/{names.segment('user', user)}/groups")

    # Looking up

    async def connection_exists(self, connection_id: str) -> bool:
        """Return whether the hub has an open connection with the id `connection_id` now."""
        return await self._unless_missing(
            "HEAD", _NO_CONNECTION, f"/connections/{names.segment('connection', connection_id)}"
        )

    async def user_exists(self, user: str) -> bool:
        """Return whether a user has an open connection to the hub now."""
        return await self._unless_missing("HEAD", _NO_USER, f"/users/{names.segment('user', user)}")

    async def group_exists(self, group: str) -> bool:
        """Return whether a group of the hub has a connection now. A group without connections does not exist."""
        return await self._unless_missing("HEAD", _NO_GROUP, f"/groups/{names.segment('group', group)}")

    async def user_in_group(self, user: str, group: str) -> bool:
        """Return whether a user is in a group of the hub."""
        return await self._unless_missing("HEAD", _NOT_IN_GROUP, _member("user", user, "group", group))

    def group_connections(self, group: str, page_size: int = 200) -> AsyncIterator[GroupConnection]:
        """Return an iterator over the connections in a group, which the iterator requests page by page.

        Args:
            group: the group's name.
            page_size: the most connections in a page, from 1 to 200.
        """
        if not 1 <= page_size <= 200:
            raise ValueError(f"page_size must be from 1 to 200, not {page_size!r}")
        path = f"/groups/{names.segment('group', group)}/connections"
        return pages(self._rest, self._request("GET", path, ("maxpagesize", page_size)))

    async def health(self) -> bool:
        """Return whether the service reports that it works. The request has no token, and is not repeated.

        Raises:
            AzureSignalRError: the service cannot be reached.
        """
        try:
            await self._rest.ask_once(self._rest.request("HEAD", "health"), anonymous=True)
        except AzureSignalRError as error:
            if error.status is None:
                raise
            return False
        return True

    # Closing

    async def close_connection(self, connection_id: str, reason: str | None = None) -> None:
        """Close the connection of a client, if it exists. The client gets the reason, and may reconnect."""
        path = f"/connections/{names.segment('connection', connection_id)}"
        await self._unless_missing("DELETE", _NO_CONNECTION, path, ("reason", reason))

    async def close_all(self, reason: str | None = None, excluded: Iterable[str] = ()) -> None:
        """Close all connections of clients to the hub, except the `excluded` connection ids."""
        await self._close("", reason, excluded)

    async def close_group(self, group: str, reason: str | None = None, excluded: Iterable[str] = ()) -> None:
        """Close all connections in a group, except the `excluded` connection ids."""
        await self._close(f"/groups/{names.segment('group', group)}", reason, excluded)

    async def close_user(self, user: str, reason: str | None = None, excluded: Iterable[str] = ()) -> None:
        """Close all connections of a user, except the `excluded` connection ids."""
        await self._close(f"/users/{names.segment('user', user)}", reason, excluded)

    async def _close(self, path: str, reason: str | None, excluded: Iterable[str]) -> None:
        await self._ask("POST", f"{path}/:closeConnections", ("reason", reason), *_excluded(excluded))

    # Requests

    async def _ask(self, method: str, path: str, *pairs: _Pair, sends: bool = False, **body: Any) -> None:
        await self._rest.ask(self._request(method, path, *pairs, **body), sends=sends)

    def _request(self, method: str, path: str, *pairs: _Pair, **body: Any) -> HttpRequest:
        """Return a request, not sent yet, for a path below the hub's path.

        `pairs` are names and values of the query. `body` are the keyword arguments `body` and `content_type` of
        `RestClient.request`.
        """
        return self._rest.request(method, self._hub_path + path, *pairs, **body)

    async def _unless_missing(self, method: str, missing: tuple[str, ...], path: str, *pairs: _Pair) -> bool:
        """Send a request and return `True`, or `False` if the connection, user or group does not exist.

        Args:
            method: `HEAD` or `DELETE`.
            missing: the error codes by which the service says that the connection, user or group does not exist.
            path: the path below the hub's path.
            pairs: names and values of the query.
        """
        try:
            await self._ask(method, path, *pairs)
        except AzureSignalRError as error:
            if rest_responses.is_missing(error, *missing):
                return False
            raise
        return True


def _member(outer: str, outer_name: str, inner: str, inner_name: str) -> str:
    return f"/{outer}s/{names.segment(outer, outer_name)}/{inner}s/{names.segment(inner, inner_name)}"


def _excluded(connection_ids: Iterable[str]) -> list[_Pair]:
    return [("excluded", each) for each in names.several("connection", connection_ids)]
