"""One request to the Hub or to its storage, with everything that can go wrong on the way.

Uses huggingface_hub's session (proxies, certificates, offline mode), with our own time limits, retries, redirects and bounds:
the session itself has no timeout, follows every redirect and reads bodies of any size. Nothing here logs an address with
its query (signed addresses are secrets for an hour) or a header.
"""

from __future__ import annotations

import logging
import os
import platform
import ssl
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import urljoin, urlsplit

from huggingface_hub import constants
from huggingface_hub.errors import OfflineModeIsEnabled
from huggingface_hub.utils import get_session, get_token_to_send, httpx

from lineage.crawler.addresses import check_redirect, origin
from lineage.crawler.breaker import GIVE_UP_SECONDS, Breaker, ServerDown
from lineage.crawler.budget import Budget
from lineage.crawler.hub_errors import (
    BadToken,
    HubDown,
    HubFailure,
    Offline,
    RateLimited,
    StorageDown,
    UnexpectedAnswer,
    failure_of,
)
from lineage.crawler.pacing import Pacer

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0  # without a single byte
SLOW_SECONDS, SLOW_BYTES_PER_SECOND = 10.0, 10_000  # what is called a slow server
SLOW_AGAIN_SECONDS = 600.0  # in which it is called so once
SMALL_BODY_BYTES = 64 * 1024
RETRIED = frozenset({408, 500, 502, 503, 504, 520, 521, 522, 524})
HIDDEN = "[token]"
REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 5
RETRIES_BEFORE_FIRST_ANSWER = 2  # an address that never answered is more likely wrong than busy
MAX_REFUSALS = 20  # answers of 429 in a row for one request


@dataclass(frozen=True, slots=True)
class HubResponse:
    """A complete answer below 400. `headers` have names in lower case, `url` is where it came from in the end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


class Traffic:
    """Requests and body bytes so far, by kind of request; safe to add to from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests: Counter[str] = Counter()
        self.body_bytes: Counter[str] = Counter()

    def begin(self, kind: str, budget: Budget | None = None) -> None:
        """Counts a request that is about to go out.

        Raises:
            BudgetSpent: it may not.
        """
        with self._lock:
            if budget is not None:
                budget.check(self.requests.total(), self.body_bytes.total())
            self.requests[kind] += 1

    def add(self, kind: str, body_bytes: int) -> None:
        with self._lock:
            self.body_bytes[kind] += body_bytes

    @property
    def total_requests(self) -> int:
        with self._lock:
            return self.requests.total()

    def share_of(self, budget: Budget) -> float:
        """How much of a budget is spent, 0 to 1."""
        with self._lock:
            return budget.share(self.requests.total(), self.body_bytes.total())

    def summary(self) -> dict[str, dict[str, int]]:
        with self._lock:
            return {"requests": dict(self.requests), "bytes": dict(self.body_bytes)}


@dataclass(frozen=True, slots=True)
class HubRequest:
    """What to ask for.

    Attributes:
        what: for the ledger: `list`, `info`, `tree`, `resolve`, `file` or `range`.
        paced_as: `api` or `resolvers`; None for addresses that the Hub does not count.
        check: looks at status and headers before the body is read; raises a HubFailure to drop the connection there.
        failure: the failure that an answer of 400 or above means, where the Hub's own table does not apply.
        follow: whether redirects are followed; if not, the redirect itself is the answer.
        limit_bytes: of the body, after decompression.
    """

    what: str
    url: str
    paced_as: str | None
    limit_bytes: int
    repo_id: str | None = None
    revision: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    follow: bool = True
    check: Callable[[int, Mapping[str, str]], None] | None = None
    failure: Callable[[int, Mapping[str, str]], HubFailure] | None = None


class BadEnvironment(HubFailure):
    """A variable of the environment says something about the network that cannot be used."""


class _CutShort(Exception):
    """The connection broke or went silent; worth another try."""


class Transport:
    """Sends requests for one endpoint.

    Args:
        endpoint: of the Hub; None takes HF_ENDPOINT.
        token: as in huggingface_hub: a token, None for the one of HF_TOKEN or the login, False for none.
        retries: how often a request that failed on the network or with a server error is sent again.
        answer_seconds: the longest that one answer may take to come in whole; without a byte, READ_SECONDS at most.
    """

    def __init__(
        self, endpoint: str | None, token: str | bool | None, pacer: Pacer, retries: int, answer_seconds: float
    ):
        self.endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
        if urlsplit(self.endpoint).scheme not in ("http", "https") or not urlsplit(self.endpoint).hostname:
            raise HubFailure(f"{self.endpoint!r} is not the address of a Hub", "give one like https://huggingface.co")
        self.pacer = pacer
        self.retries = retries
        self.answer_seconds = answer_seconds
        self.traffic = Traffic()
        self.budget: Budget | None = None
        self._breakers = {which: Breaker(pacer.clock, self._wait_for_server) for which in ("hub", "storage")}
        self._reached = False
        self._slow_until: dict[str, float] = {}  # host -> when it may be called slow again
        self._token = _token_to_send(token)
        self._agent = f"lineage/{_version('model-lineage')}; hf_hub/{_version('huggingface_hub')}; python/{platform.python_version()}"

    @property
    def has_token(self) -> bool:
        return self._token is not None

    def limit(self, budget: Budget) -> None:
        """From now on, spend no more than this; what is beyond it raises BudgetSpent."""
        self.budget = budget
        self.pacer.before_pause = lambda seconds: budget.check(0, 0, seconds)

    def send(self, ask: HubRequest) -> HubResponse:
        """The answer, after retries, waits and redirects.

        Raises:
            HubFailure: one of its subclasses, see crawler/hub_errors.py; or what `ask.check` raises.
        """
        attempt = refusals = 0
        url, followed = ask.url, 0
        while True:
            try:
                answer = self._once(ask, url)
            except _CutShort as error:
                if not self._is_down(ask):
                    attempt += 1
                if attempt > (self.retries if self._reached else min(self.retries, RETRIES_BEFORE_FIRST_ANSWER)):
                    raise self._down(ask, str(error)) from error
                logger.info("%s %s: %s; trying again", ask.what, self._where(url), error)
                self._back_off(ask, attempt)
                continue
            if answer.status in RETRIED and (attempt < self.retries or self._is_down(ask)):
                attempt = min(attempt + 1, self.retries)
                logger.info("%s %s: status %d; trying again", ask.what, self._where(url), answer.status)
                self._back_off(ask, attempt, answer.headers)
            elif answer.status == 429 and refusals < MAX_REFUSALS:
                refusals += 1
                logger.info("%s: rate limited", ask.what)
                if ask.paced_as is None:
                    self._back_off(ask, refusals, answer.headers)
                else:
                    kind, attempts = ask.paced_as, refusals
                    self._with_name(ask, partial(self.pacer.back_off_after_refusal, kind, attempts))
            elif answer.status in REDIRECTS and ask.follow:
                target = redirect_target(answer, ask.repo_id)
                check_redirect(self.endpoint, url, target, ask.repo_id)
                url, followed = target, followed + 1
                if followed > MAX_REDIRECTS:
                    raise UnexpectedAnswer(f"redirected more than {MAX_REDIRECTS} times", None, ask.repo_id)
            elif answer.status >= 400 and ask.failure is not None:
                raise ask.failure(answer.status, answer.headers)
            elif answer.status >= 400:
                raise failure_of(
                    answer.status, answer.headers, answer.body, ask.repo_id, ask.revision, self._may_have_token(url)
                )
            else:
                return answer

    def _once(self, ask: HubRequest, url: str) -> HubResponse:
        headers = {"user-agent": self._agent, "accept-encoding": "gzip", **ask.headers}
        if self._may_have_token(url):
            headers["authorization"] = f"Bearer {self._token}"
        breaker = self._breaker_of(ask)
        if breaker is None:
            answer = self._exchange(ask, url, headers)
            if answer.status not in RETRIED:
                self._breakers["hub"].succeeded()
            return answer
        try:
            breaker.wait()
        except ServerDown:
            raise self._down(ask, "it is down") from None
        answered = False
        try:
            answer = self._exchange(ask, url, headers)
            answered = answer.status not in RETRIED
            return answer
        except HubFailure:
            answered = True  # by a server that is there, or nothing was sent at all
            raise
        finally:
            if answered:
                breaker.succeeded()
            elif (seconds := breaker.failed()) is not None:
                most = f"{GIVE_UP_SECONDS / 60:.0f} minutes"
                logger.warning(
                    "%s gives no whole answer; asked again in %.0f s, for %s in all",
                    urlsplit(url).hostname,
                    seconds,
                    most,
                )

    def _is_down(self, ask: HubRequest) -> bool:
        breaker = self._breaker_of(ask)
        return breaker is not None and breaker.is_open

    def _breaker_of(self, ask: HubRequest) -> Breaker | None:
        """None for the listing: one thread asks for it, and a page may be too heavy for a server that is well."""
        return None if ask.what == "list" else self._breakers["hub" if ask.paced_as is not None else "storage"]

    def _wait_for_server(self, seconds: float) -> None:
        try:
            self.pacer.pause(seconds, why=None)
        except RateLimited:
            raise ServerDown from None

    def _exchange(self, ask: HubRequest, url: str, headers: Mapping[str, str]) -> HubResponse:
        deadline = time.monotonic() + self.answer_seconds
        with self._translated(ask), self._paced(ask) as observe:
            session = _session()
            self.traffic.begin(ask.what, self.budget)
            with session.stream(
                "GET",
                url,
                headers=headers,
                follow_redirects=False,
                timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS, pool=None),
            ) as response:
                found = {name.lower(): value for name, value in response.headers.items()}
                self._reached = True
                observe(response.status_code, found)
                problem = response.status_code >= 300
                if not problem and ask.check is not None:
                    ask.check(response.status_code, found)
                body = self._read(
                    ask, response, found, SMALL_BODY_BYTES if problem else ask.limit_bytes, deadline, problem
                )
                return self._without_token(HubResponse(response.status_code, found, body, url), ask)

    def _without_token(self, answer: HubResponse, ask: HubRequest) -> HubResponse:
        """What comes back may quote what was sent; a token gets into no message and no store."""
        if self._token is None or ask.paced_as is None:
            return answer
        secret = self._token.encode()
        headers = {name: value.replace(self._token, HIDDEN) for name, value in answer.headers.items()}
        body = answer.body.replace(secret, HIDDEN.encode()) if secret in answer.body else answer.body
        return HubResponse(answer.status, headers, body, answer.url)

    def _read(
        self, ask: HubRequest, response: Any, headers: Mapping[str, str], limit_bytes: int, deadline: float, cut: bool
    ) -> bytes:
        """The body, decompressed, never more than `limit_bytes`: beyond it cut off (`cut`), or a failure."""
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip", ""):
            if cut:
                return b""
            raise UnexpectedAnswer(
                f"an answer with the encoding {encoding[:20]}, which was not requested", None, ask.repo_id
            )
        inflate = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
        parts: list[bytes] = []
        left = limit_bytes
        slow_from, received = deadline - self.answer_seconds + SLOW_SECONDS, 0
        for raw in response.iter_raw():
            self.traffic.add(ask.what, body_bytes=len(raw))
            received += len(raw)
            if time.monotonic() > slow_from:
                self._tell_slow(ask, received, deadline)
                slow_from = deadline
            piece = inflate.decompress(raw, left + 1) if inflate else raw
            if len(piece) > left:
                if cut:
                    return b"".join([*parts, piece[:left]])
                raise UnexpectedAnswer(
                    f"an answer of more than {limit_bytes} bytes, which is more than was asked for", None, ask.repo_id
                )
            parts.append(piece)
            left -= len(piece)
            if time.monotonic() > deadline:
                raise _CutShort(f"not complete after {self.answer_seconds:g} seconds")
        if inflate and not inflate.eof:
            raise _CutShort("a compressed answer ended early")
        return b"".join(parts)

    @contextmanager
    def _paced(self, ask: HubRequest):  # type: ignore[no-untyped-def]  # yields the function that hears of the answer
        if ask.paced_as is None:
            yield lambda status, headers: None
            return
        kind, answered = ask.paced_as, False
        self._with_name(ask, lambda: self.pacer.wait(kind))

        def observe(status: int, headers: Mapping[str, str]) -> None:
            nonlocal answered
            answered = True
            self.pacer.observe(kind, status, headers)

        try:
            yield observe
        finally:
            if not answered:
                self.pacer.give_up(kind)

    @contextmanager
    def _translated(self, ask: HubRequest):  # type: ignore[no-untyped-def]
        """Errors of the HTTP library -> ours. Their texts may quote headers, so none is passed on."""
        try:
            yield
        except OfflineModeIsEnabled:
            raise Offline(ask.repo_id) from None
        except (httpx.LocalProtocolError, UnicodeError):
            raise BadToken("HF_TOKEN holds characters that no token has", "set HF_TOKEN anew", ask.repo_id) from None
        except httpx.TimeoutException:
            raise _CutShort(f"no answer within {READ_SECONDS:.0f} seconds") from None
        except httpx.ConnectError:
            raise _CutShort("cannot connect") from None
        except (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ProxyError):
            raise _CutShort("the connection broke") from None
        except (httpx.HTTPError, httpx.InvalidURL, zlib.error) as error:
            raise UnexpectedAnswer(
                f"an answer that cannot be read ({type(error).__name__})", None, ask.repo_id
            ) from None

    def _back_off(self, ask: HubRequest, attempt: int, headers: Mapping[str, str] | None = None) -> None:
        self._with_name(ask, lambda: self.pacer.back_off(attempt, headers))

    @staticmethod
    def _with_name(ask: HubRequest, wait: Callable[[], None]) -> None:
        try:
            wait()
        except RateLimited as error:
            raise RateLimited(error.wait_seconds, ask.repo_id, error.asked) from None

    def _tell_slow(self, ask: HubRequest, received: int, deadline: float) -> None:
        """One line about a server that sends little, once for all its answers within SLOW_AGAIN_SECONDS."""
        now, host = time.monotonic(), urlsplit(ask.url).hostname or ""
        if received > SLOW_BYTES_PER_SECOND * SLOW_SECONDS or now < self._slow_until.get(host, 0.0):
            return
        self._slow_until[host] = now + SLOW_AGAIN_SECONDS
        logger.warning(
            "%s is slow: %s bytes in %.0f s; an answer is waited for until %s UTC",
            host,
            f"{received:,}",
            SLOW_SECONDS,
            f"{datetime.now(UTC) + timedelta(seconds=max(0.0, deadline - now)):%H:%M:%S}",
        )

    def _down(self, ask: HubRequest, why: str) -> HubFailure:
        host = urlsplit(ask.url).hostname
        if ask.paced_as is None:
            return StorageDown(f"reading {ask.repo_id} from {host} failed: {why}", "try again later", ask.repo_id)
        return HubDown(
            f"{host} does not answer: {why}",
            "check the network and --endpoint (or HF_ENDPOINT); try again later",
            ask.repo_id,
        )

    def _may_have_token(self, url: str) -> bool:
        return self._token is not None and origin(url) == origin(self.endpoint)

    @staticmethod
    def _where(url: str) -> str:
        parts = urlsplit(url)
        return f"{parts.hostname}{parts.path}"


def _token_to_send(token: str | bool | None) -> str | None:
    """
    Raises:
        BadToken: the file of the login is no text, or cannot be opened.
    """
    try:
        found: str | None = get_token_to_send(token)
        return found
    except (UnicodeError, OSError) as error:
        why = "it is no UTF-8 text" if isinstance(error, UnicodeError) else os.strerror(error.errno or 0)
        raise BadToken(
            f"the token in {constants.HF_TOKEN_PATH} cannot be read: {why}",
            "run `hf auth login` anew, or set HF_TOKEN; HF_TOKEN_PATH names the file",
        ) from None


def _session() -> Any:
    """The client library's session, which reads proxies and certificates from the environment when it is first made.

    Raises:
        BadEnvironment: they cannot be used. The values are not repeated: an address of a proxy may hold a password.
    """
    try:
        return get_session()
    except ImportError:
        raise BadEnvironment(
            f"{_proxy_with('socks5', 'socks5h')} names a SOCKS proxy, which needs the package socksio",
            "pip install socksio, or unset it",
        ) from None
    except (ValueError, httpx.InvalidURL):  # after proxies and certificates nothing else is read there
        raise BadEnvironment(
            f"{_proxy_with()} is not the address of a proxy that can be used",
            "write it as http://host:port or socks5://host:port, or unset it",
        ) from None
    except OSError as error:
        name = next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)), "SSL_CERT_FILE")
        why = "it holds no certificates" if isinstance(error, ssl.SSLError) else error.strerror or str(error)
        raise BadEnvironment(
            f"{name}={os.environ.get(name, '')} cannot be used for certificates: {why}", "correct it, or unset it"
        ) from None


def _proxy_with(*schemes: str) -> str:
    """The variable that names a proxy of these schemes, or without any given, of an invalid one."""
    usable = ("http", "https", "socks5", "socks5h")
    for name in ("all_proxy", "https_proxy", "http_proxy"):
        for spelled in (name.upper(), name):
            said = os.environ.get(spelled, "")
            scheme, _, host = said.partition("://")
            if said and (scheme.lower() in schemes if schemes else scheme.lower() not in usable or not _is_host(host)):
                return spelled
    return "the proxy of the environment (ALL_PROXY, HTTPS_PROXY, HTTP_PROXY)"


def _is_host(host: str) -> bool:
    try:
        return urlsplit(f"http://{host}").port != 0
    except ValueError:
        return False


def redirect_target(answer: HubResponse, repo_id: str | None) -> str:
    """Absolute address that a redirect names; its query is kept as it is."""
    location = answer.headers.get("location", "")
    if not location or len(location) > 16_384:
        raise UnexpectedAnswer("a redirect that does not say where to", None, repo_id)
    try:
        return urljoin(answer.url, location)
    except ValueError:
        raise UnexpectedAnswer("a redirect to something that is no address", None, repo_id) from None


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
