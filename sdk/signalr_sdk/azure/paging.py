"""Reads the list of the connections in a group, which the service returns page by page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

from .._core import urls
from . import rest_responses

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..interfaces import HttpRequest, HttpResponse
    from .rest_client import RestClient


# The only characters that the URL of a next page may have: visible ASCII. A line break would end the first line of the
# HTTP request, and the rest of the URL would be taken for headers.
_URL = re.compile(r"[!-~]+")


@attrs.frozen
class GroupConnection:
    """A connection of a client in a group of a hub.

    Attributes:
        connection_id: id of the connection.
        user_id: id of the connection's user; `None` for a client without a user.
    """

    connection_id: str
    user_id: str | None = None


async def pages(rest: RestClient, request: HttpRequest) -> AsyncIterator[GroupConnection]:
    """Yield the connections in a group. The next page is requested after all connections of a page were yielded.

    Args:
        rest: sends the requests.
        request: the request for the first page.

    Raises:
        AzureSignalRError: a request failed, or a page is not as the REST API describes it.
    """
    asked: set[str] = set()
    while True:
        asked.add(request.url)
        response = await rest.ask(request)
        page = rest_responses.members(request, response)
        found = page.get("value")
        if not isinstance(found, list):
            raise rest_responses.unexpected(request, response, "the answer has no list of connections (value)")
        for connection in [_connection(request, response, item) for item in found]:
            yield connection
        following = page.get("nextLink")
        if not following:
            return
        if not (isinstance(following, str) and _URL.fullmatch(following)):
            raise rest_responses.unexpected(request, response, "the answer's nextLink is not a URL")
        # Use only the query of `nextLink`: the rest of the link could name another server, and the token must be sent
        # only to the server that the connection string names.
        request = attrs.evolve(request, url=f"{urls.without_query(request.url)}?{following.partition('?')[2]}")
        if request.url in asked:
            raise rest_responses.unexpected(request, response, "the pages of the list never end: a nextLink came twice")


def _connection(request: HttpRequest, response: HttpResponse, item: object) -> GroupConnection:
    if isinstance(item, dict):
        connection_id, user_id = item.get("connectionId"), item.get("userId")
        if isinstance(connection_id, str) and (user_id is None or isinstance(user_id, str)):
            return GroupConnection(connection_id, user_id)
    raise rest_responses.unexpected(request, response, "the answer lists something that is no connection")
