"""The retry policy of the commands that stay connected: it says what it waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .. import HubError, Retry, SetupError
from .._core.redaction import redact_error
from .option_words import in_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..retry import RetryContext


@attrs.define
class AnnouncedRetry:
    """A retry policy, with a message before each delay.

    Attributes:
        say: shows a message to the user.
        token_source: where the bearer token comes from; `None` without a token.
        policy: decides whether to try again, and when; by default as a hub connection does.
    """

    say: Callable[[str], None]
    token_source: str | None
    policy: Retry = attrs.field(factory=Retry)
    _last_reason: str = attrs.field(default="", init=False)

    def next_delay(self, context: RetryContext) -> float | None:
        """See `RetryPolicy`."""
        if refused_setup(context.error) is not None and not context.was_connected:
            # The hub refuses a call of `--call`: probably a wrong name, which does not heal.
            return None
        delay = self.policy.next_delay(context)
        if delay is not None:
            error = context.error
            why = in_options(redact_error(error), self.token_source) if error else "the server closed it"
            # Say a reason once, and not again for each attempt of a long outage.
            again = f"trying again in {delay:.1f} s"
            same = why == self._last_reason and context.attempt > 0
            self.say(f"still no connection, {again}" if same else f"no connection, {again}: {why}")
            self._last_reason = why
        return delay


def refused_setup(error: BaseException | None) -> HubError | None:
    """Return the hub's answer to a call of `--call`, if the hub refused it and so ended the set-up."""
    cause = error.__cause__ if isinstance(error, SetupError) else None
    return cause if isinstance(cause, HubError) else None
