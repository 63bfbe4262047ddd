"""Wrong invocations of every command, made from its own parameters: each option with values that its type refuses, arguments that name
nothing, options that do not exist or lack a value. The same for the same seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import click

from lineage.commands import cli
from lineage.commands.crawl_options import SizeInBytes
from lineage.commands.moments import Moment

USAGE, FAILURE = (2,), (1, 2, 3, 4)
HOSTILE = "\x1b]0;owned\x07\x9b31m\u202e"
NAMES = [
    "no-such-model", "acme/" + "x" * 300, "a" * 5_000, "acme/../x", "acme/a/b/c/d", "acme/a@", "@main", "🤗/🤗", "'; DROP",
    "%s%n{0}$(id)", "https://", "http://[::1", "https://example.com/acme/a", "hf://", "~nobody-at-all/x", "./none", "../none",
    "/no/such/place", "x.safetensors", "caf\udce9/x", HOSTILE, "acme/a\nacme/b", "local:000", "id-x", "#1", "C:\\x", "-", " ", "[bold]x[/]",
]  # fmt: skip
ADDRESSES = [
    "ftp://x",
    "bolt://",
    "bolt://127.0.0.1:99999",
    "bolt://u:p@127.0.0.1:9",
    "postgres://u:p@h/x",
    "://",
    "neo4j://127.0.0.1:9",
]
WRONG_STORES = {
    "store": ADDRESSES,
    "sketches": ["nosuch://x", "nosuch://u:p@h/x"],
    "endpoint": ["nonsense", "ftp://x", "http://"],
}
NEVER_ENDS = {"serve", "web", "sync"}  # with arguments that are right


@dataclass(frozen=True)
class Wrong:
    """An invocation, the exit codes that it may have, and what is wrong with it."""

    words: tuple[str, ...]
    codes: tuple[int, ...]
    why: str


def commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        elif command is not None:
            yield (*path, name), command


def values_refused(kind: click.ParamType) -> list[str]:
    """Texts that a type of click, or of ours, refuses; none where it takes any text."""
    if isinstance(kind, click.Choice):
        return ["", "nonsense", HOSTILE, "1", "a" * 1_000]
    if isinstance(kind, (click.IntRange, click.types.IntParamType)):
        below = [str(int(kind.min) - 1)] if isinstance(kind, click.IntRange) and kind.min is not None else []
        return ["", "x", "1.5", "1e3", "0x10", "١٢x", "1 2", HOSTILE, *below]
    if isinstance(kind, (click.FloatRange, click.types.FloatParamType)):
        above = ["inf", "1e99"] if isinstance(kind, click.FloatRange) and kind.max is not None else []
        below = ["-inf", "-1e99"] if isinstance(kind, click.FloatRange) and kind.min is not None else []
        return ["", "x", "1,5", "0x10", HOSTILE, *above, *below]
    if isinstance(kind, Moment):
        return ["", "soon", "2026-13-01", "-7d", "7", HOSTILE, "9" * 400]
    if isinstance(kind, SizeInBytes):
        return ["", "0", "-5", "5X", "lots", HOSTILE]
    if isinstance(kind, click.Path) and kind.exists:
        return ["/no/such/file", "none", HOSTILE, "a" * 5_000]
    return []


def wrong_invocations(path: tuple[str, ...], command: click.Command, seed: int = 0) -> Iterator[Wrong]:
    """Endless; the first few dozen are all different for every command but the smallest."""
    chance = random.Random(f"{' '.join(path)} {seed}")
    arguments = [p for p in command.params if isinstance(p, click.Argument)]
    options = [p for p in command.params if isinstance(p, click.Option) and p.opts[0] not in ("--help",)]
    typed = [o for o in options if not o.is_flag and not o.count and values_refused(o.type)]
    addressed = [o for o in options if o.name in WRONG_STORES and not o.hidden]
    flags = [o for o in options if o.is_flag]
    given = tuple(chance.choice(NAMES) for a in arguments if a.required)
    named = bool(arguments) and path[-1] not in NEVER_ENDS

    def name_of(option: click.Option) -> str:
        return max(option.opts, key=len)

    while True:
        kinds = ["unknown", "missing value"] + ["typed"] * 4 * bool(typed) + ["flag"] * bool(flags) + ["many"]
        kinds += ["named"] * 6 * named + ["address"] * 2 * (bool(addressed) and path[-1] not in NEVER_ENDS)
        kinds += ["none"] * any(a.required for a in arguments)
        kind = chance.choice(kinds)
        given = tuple(chance.choice(NAMES) for a in arguments if a.required or chance.random() < 0.5)
        if kind == "unknown":
            yield Wrong(
                (*path, *given, chance.choice(["--no-such-option", "--" + HOSTILE, "---", "--=x", "-Q"])), USAGE, kind
            )
        elif kind == "missing value" and typed:
            yield Wrong((*path, *given, name_of(chance.choice(typed))), USAGE, kind)
        elif kind == "typed":
            option = chance.choice(typed)
            yield Wrong((*path, *given, f"{name_of(option)}={chance.choice(values_refused(option.type))}"), USAGE, kind)
        elif kind == "flag":
            yield Wrong((*path, *given, f"{name_of(chance.choice(flags))}=yes"), USAGE, kind)
        elif kind == "many" and not any(a.nargs == -1 for a in arguments):
            yield Wrong(
                (*path, *(chance.choice(NAMES) for _ in range(len(arguments) + 1)), "one-too-many"), USAGE, kind
            )
        elif kind == "named" and given:
            fails = (
                FAILURE if path != ("sketches", "copy") else (0, *FAILURE)
            )  # nothing is there, and all of it is copied
            yield Wrong((*path, "--", *given), fails, kind)
        elif kind == "address":
            option = chance.choice(addressed)
            yield Wrong(
                (*path, f"{name_of(option)}={chance.choice(WRONG_STORES[str(option.name)])}", "--", *given),
                (0, *FAILURE),
                kind,
            )
        elif kind == "none":
            yield Wrong(path, USAGE, kind)
