"""The web application: addresses to pages, pages to HTML or JSON, failures to one line."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from urllib.parse import quote, urlencode

import anyio
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from lineage.graphdb.errors import TooLarge
from lineage.graphdb.schema import Failure
from lineage.pages.layers import layer_picture
from lineage.pages.provenance import program_version
from lineage.pages.render import asset, dumps, environment, render
from lineage.pages.words import visible
from lineage.web import lists
from lineage.web.addresses import read_more
from lineage.web.explorer import FOUND, MOST_CHILDREN, BadAddress, Explorer, NoSuchPage, Page
from lineage.web.guard import Access, Guard

logger = logging.getLogger(__name__)

STATIC = {"style.css": "text/css", "app.js": "text/javascript", "icon.svg": "image/svg+xml", "layers.css": "text/css"}
MOST_OPENED = 200
PICTURES = 8  # that wait at once
AGAIN_SECONDS = 0.25
Made = Callable[[Explorer, Request], Page]


class NameConvertor(PathConvertor):
    """The rest of a path, which names a model: slashes and, unlike Starlette's `path`, line breaks too."""

    regex = "(?s:.*)"


def application(explorer: Explorer, access: Access) -> Guard:
    """The whole application, behind its guard."""
    register_url_convertor("model", NameConvertor())
    routes = [
        Route("/", partial(_answer, explorer, lambda e, r: e.overview())),
        Route("/search", partial(_answer, explorer, lambda e, r: e.search(_text(r, "q"), _number(r, "shown", FOUND)))),
        Route("/complete", partial(_complete, explorer)),
        Route("/model/{name:model}", partial(_answer, explorer, _model)),
        Route("/family/{name:model}", partial(_answer, explorer, _family)),
        Route(
            "/blast/{name:model}",
            partial(_answer, explorer, lambda e, r: lists.blast(e, r.path_params["name"], _number(r))),
        ),
        Route("/edge", partial(_answer, explorer, lambda e, r: e.edge(_text(r, "child"), _text(r, "parent")))),
        Route("/layers.svg", partial(_layers, explorer)),
        Route("/compare", partial(_answer, explorer, lambda e, r: e.compare(_text(r, "a"), _text(r, "b")))),
        Route("/declared", partial(_answer, explorer, _declared)),
        Route("/licences", partial(_answer, explorer, lambda e, r: lists.licences(e, _text(r, "q"), _number(r)))),
        Route("/runs", partial(_answer, explorer, lambda e, r: lists.runs(e))),
        Route(
            "/changes", partial(_answer, explorer, lambda e, r: lists.changes(e, _text(r, "since"), _text(r, "until")))
        ),
        Route("/static/{name}", _static),
    ]
    app = Starlette(
        routes=routes, exception_handlers={404: partial(_missing, explorer), 500: partial(_broken, explorer)}
    )
    app.router.redirect_slashes = False
    environment()  # templates are compiled before the first request
    return Guard(app, access)


async def _answer(explorer: Explorer, made: Made, request: Request) -> Response:
    """A page, made in a thread, as HTML or as JSON."""
    return await run_in_threadpool(_respond, explorer, made, request)


def _respond(explorer: Explorer, made: Made, request: Request) -> Response:
    json_wanted = request.query_params.get("format") == "json"
    try:
        page = _made(explorer, made, request)
    except NoSuchPage as error:
        page = Page(
            "problem.html",
            "Not found",
            {"message": error.what, "close": error.close},
            {"error": error.what, "close": error.close},
            status=404,
        )
    except BadAddress as error:
        page = Page(
            "problem.html", "Not understood", {"message": str(error), "close": ()}, {"error": str(error)}, status=400
        )
    except Failure as failure:
        logger.warning("%s: %s", request.url.path, failure.message)
        page = Page(
            "problem.html",
            "Not available",
            {"message": failure.message, "close": ()},
            {"error": failure.message},
            status=503,
        )
    headers = {"cache-control": "no-cache"}
    if json_wanted:
        return Response(dumps(page.document), page.status, headers, "application/json")
    return Response(_html(explorer, page, request), page.status, headers, "text/html; charset=utf-8")


def _made(explorer: Explorer, made: Made, request: Request) -> Page:
    """The page; once more where the questions of other requests left no memory for it."""
    try:
        return made(explorer, request)
    except TooLarge:
        time.sleep(AGAIN_SECONDS)
        return made(explorer, request)


def _html(explorer: Explorer, page: Page, request: Request) -> str:
    pairs = [pair for pair in request.query_params.multi_items() if pair[0] != "format"]
    twin = f"{_asked_path(request)}?{urlencode([*pairs, ('format', 'json')])}"
    return render(
        page.template,
        title=page.title,
        here=page.here,
        twin=twin,
        source=explorer.source,
        version=program_version(),
        asked=visible(request.query_params.get("q", "")) if page.template == "search.html" else "",
        **page.values,
    )


def _asked_path(request: Request) -> str:
    """The path of an address, quoted again: names may hold a `?`, and two slashes at the beginning would lead to another host."""
    return "/" + quote(str(request.scope["path"]).lstrip("/"))


def _text(request: Request, name: str) -> str:
    return request.query_params.get(name, "")


def _number(request: Request, name: str = "page", default: int = 1) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and 0 < int(text[:7]) <= 100_000):
        raise BadAddress(f"{name} is a number from 1 on")
    return int(text)


def _unfolded(request: Request) -> tuple[list[str], dict[str, int]]:
    return request.query_params.getlist("open")[:MOST_OPENED], read_more(
        request.query_params.getlist("more")[:MOST_OPENED], MOST_CHILDREN
    )


def _model(explorer: Explorer, request: Request) -> Page:
    opened, more = _unfolded(request)
    return explorer.model(request.path_params["name"], request.query_params.get("at"), opened, more)


def _family(explorer: Explorer, request: Request) -> Page:
    opened, more = _unfolded(request)
    least = request.query_params.get("least") or "0"
    try:
        probability = float(least)
    except ValueError:
        probability = -1.0
    if not 0.0 <= probability <= 1.0:
        raise BadAddress("least is a probability from 0 to 1")
    return explorer.family(request.path_params["name"], request.query_params.get("at"), opened, more, probability)


def _declared(explorer: Explorer, request: Request) -> Page:
    return lists.declared(explorer, _text(request, "outcome") or "contradicts", _text(request, "q"), _number(request))


async def _complete(explorer: Explorer, request: Request) -> Response:
    names: Sequence[str] = await run_in_threadpool(explorer.complete, _text(request, "q"))
    return Response(
        dumps([visible(name) for name in names]), headers={"cache-control": "no-cache"}, media_type="application/json"
    )


async def _layers(explorer: Explorer, request: Request) -> Response:
    def drawn() -> tuple[str, int]:
        try:
            found = explorer.layers(_text(request, "child"), _text(request, "parent"))
        except NoSuchPage as error:
            return render("note.svg", text=error.what), 404
        if isinstance(found, str):
            return render("note.svg", text=found), 200
        return render("layers.svg", picture=layer_picture(found), style=asset("layers.css").decode()), 200

    text, status = await anyio.to_thread.run_sync(drawn, limiter=_drawing())
    headers = {
        "cache-control": "private, max-age=300",
        "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    }
    return Response(text, status, headers, "image/svg+xml")


@cache
def _drawing() -> anyio.CapacityLimiter:
    """Pictures wait for a process of their own; they must not take the threads of pages."""
    return anyio.CapacityLimiter(PICTURES)


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in STATIC:
        return PlainTextResponse("There is no such file.\n", 404)
    return Response(asset(name), headers={"cache-control": "public, max-age=3600"}, media_type=STATIC[name])


async def _missing(explorer: Explorer, request: Request, error: Exception) -> Response:
    def absent(explorer: Explorer, request: Request) -> Page:
        raise NoSuchPage("There is no such page.")

    return _respond(explorer, absent, request)


async def _broken(explorer: Explorer, request: Request, error: Exception) -> Response:
    return PlainTextResponse("Something went wrong on the server; its log says what.\n", 500)
