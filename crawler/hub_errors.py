"""What an answer of the Hub means: status, `X-Error-Code` and `X-Error-Message` -> one of our failures.

The client library's own error classes depend on the address (https or not), so we decide here. What a server says
is shortened to one printable line before it gets into a message.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from lineage.graphdb.schema import Failure, NoSuchModel


class HubFailure(Failure):
    """Something between us and the Hub. `repo_id` is None where no single repository is concerned."""

    def __init__(self, message: str, try_next: str | None = None, repo_id: str | None = None):
        super().__init__(message, try_next)
        self.repo_id = repo_id


class NoSuchRepository(HubFailure, NoSuchModel):
    """Missing, private or deleted: anonymous callers get the same answer for all three."""


class NoSuchRevision(HubFailure, NoSuchModel):
    """The repository is there, the revision is not (or no longer: history can be rewritten)."""


class NoSuchFile(HubFailure, NoSuchModel):
    """The repository is there, the file is not."""


class GatedRepository(HubFailure, NoSuchModel):
    """Its files want an accepted licence and a token."""


class DisabledRepository(HubFailure, NoSuchModel):
    """Taken out of use by the Hub."""


class BadToken(HubFailure):
    """The Hub does not accept the token."""


class HubDown(HubFailure):
    """No answer, or only server errors (`status` is the last one), after all retries."""

    def __init__(
        self, message: str, try_next: str | None = None, repo_id: str | None = None, status: int | None = None
    ):
        super().__init__(message, try_next, repo_id)
        self.status = status


class StorageDown(HubFailure):
    """The storage that holds the bytes of a file does not answer, or breaks off every time."""


class RateLimited(HubFailure):
    """The Hub wants us to wait longer than the caller is ready to."""

    def __init__(self, wait_seconds: float, repo_id: str | None = None, asked: bool = True):
        """
        Args:
            asked: whether the Hub has said how long to wait.
        """
        wait = duration(wait_seconds)
        super().__init__(
            f"the Hub's rate limit is spent; it asks to wait {wait}"
            if asked
            else "the Hub refuses further requests (429, too many) and does not say for how long",
            f"run the same command again {f'in {wait}' if asked else 'later'}; a token (HF_TOKEN) has a higher limit",
            repo_id,
        )
        self.wait_seconds, self.asked = wait_seconds, asked


class Offline(HubFailure):
    """HF_HUB_OFFLINE forbids every request."""

    def __init__(self, repo_id: str | None = None):
        super().__init__(
            "offline mode is on (HF_HUB_OFFLINE), so the Hub cannot be asked",
            "unset HF_HUB_OFFLINE, or name a local folder",
            repo_id,
        )


class UnexpectedAnswer(HubFailure):
    """An answer that no Hub gives: a mirror, a proxy or another server stands there."""


def failure_of(
    status: int, headers: Mapping[str, str], body: bytes, repo_id: str | None, revision: str | None, with_token: bool
) -> HubFailure:
    """The failure that an answer of 400 or above means.

    Args:
        headers: names in lower case.
        with_token: whether the request carried one.
    """
    code = headers.get("x-error-code", "")
    said = one_line(headers.get("x-error-message") or _error_in(body))
    name = repo_id or "the Hub"
    if code == "GatedRepo" or (status == 403 and "gated" in said.lower()):
        how = "ask for access on its page" if with_token else "accept its licence on its page and set HF_TOKEN"
        return GatedRepository(f"{name} is gated: its files want an accepted licence", how, repo_id)
    if (status == 403 and "disabled" in said.lower()) or status == 451:
        return DisabledRepository(
            f"{name} is disabled on the Hub", "there is nothing to read; look for a copy", repo_id
        )
    if status == 401 and (with_token or "credentials" in said.lower()):
        return BadToken("the Hub refuses the token", "set HF_TOKEN anew, or unset it", repo_id)
    if code == "RevisionNotFound":
        return NoSuchRevision(f"{name} has no revision {revision}", "leave the revision out", repo_id)
    if code == "EntryNotFound":
        return NoSuchFile(f"{name} has no such file at {revision}", None, repo_id)
    if repo_id and (status in (401, 404)):
        token = "" if with_token else "; if it is private, set HF_TOKEN"
        return NoSuchRepository(f"repository {name} does not exist or is private", f"check the name{token}", repo_id)
    if status == 403:
        return HubFailure(f"the Hub refuses access to {name}: {said}", "check what the token allows", repo_id)
    if status == 429:
        return RateLimited(300.0, repo_id, asked=False)
    if status >= 500:
        return HubDown(f"the Hub answers {status} for {name}", "try again later", repo_id, status)
    where = "for " + repo_id if repo_id else "to the listing"
    return UnexpectedAnswer(
        f"the Hub answers {status} {where}: {said or 'no reason given'}",
        "check --endpoint or HF_ENDPOINT: does a Hub answer there?",
        repo_id,
    )


def duration(seconds: float) -> str:
    """As people say it: `45 seconds`, `4 minutes`, `3 hours`, `2 days`."""
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds > 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def one_line(text: str, limit: int = 200) -> str:
    """Text of a stranger, fit for a message: printable, one line, short."""
    return "".join(c if c.isprintable() else " " for c in text[: 4 * limit]).strip()[:limit]


def _error_in(body: bytes) -> str:
    try:
        answer = json.loads(body[:10_000])
    except (ValueError, RecursionError):
        return ""
    error = answer.get("error") if isinstance(answer, dict) else None
    return error if isinstance(error, str) else ""
