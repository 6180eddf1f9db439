"""Lists that come in pages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs

from .._core import urls
from . import answers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..interfaces import HttpRequest, HttpResponse
    from .rest import RestClient


# No other character can stand in one, and some would end the line of the request.
_URL = re.compile(r"[!-~]+")


@attrs.frozen
class GroupConnection:
    """A connection in a group.

    Attributes:
        connection_id: its id.
        user_id: its user, if it has one.
    """

    connection_id: str
    user_id: str | None = None


async def pages(rest: RestClient, request: HttpRequest) -> AsyncIterator[GroupConnection]:
    """Yield what is on the page asked for, and on all that follow."""
    asked: set[str] = set()
    while True:
        asked.add(request.url)
        response = await rest.ask(request)
        page = answers.members(request, response)
        for item in _items(request, response, page):
            yield item
        following = page.get("nextLink")
        if not following:
            return
        if not (isinstance(following, str) and _URL.fullmatch(following)):
            raise answers.unexpected(request, response, "the answer's nextLink is not a URL")
        # Only its query: the token goes to the endpoint that the user named, wherever the link points.
        request = attrs.evolve(request, url=f"{urls.without_query(request.url)}?{following.partition('?')[2]}")
        if request.url in asked:
            raise answers.unexpected(request, response, "the pages of the list never end: a nextLink came twice")


def _items(request: HttpRequest, response: HttpResponse, page: dict[str, Any]) -> list[GroupConnection]:
    found = page.get("value")
    if not isinstance(found, list):
        raise answers.unexpected(request, response, "the answer has no list of connections (value)")
    return [_item(request, response, each) for each in found]


def _item(request: HttpRequest, response: HttpResponse, item: object) -> GroupConnection:
    if isinstance(item, dict):
        connection_id, user_id = item.get("connectionId"), item.get("userId")
        if isinstance(connection_id, str) and (user_id is None or isinstance(user_id, str)):
            return GroupConnection(connection_id, user_id)
    raise answers.unexpected(request, response, "the answer lists something that is no connection")
