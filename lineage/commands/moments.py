"""The type of options that take a moment."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

from lineage.moments import moment_of, utc_now


class Moment(click.ParamType):
    """A moment, always in UTC where no zone is written; the command gets an aware datetime."""

    name = "moment"

    def __init__(self, now: Callable[[], datetime] = utc_now):
        self._now = now

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "MOMENT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        found = moment_of(str(value), self._now())
        if found is None:
            self.fail(
                f"{value!r} is not a moment: write 2026-11-01, 2026-11-01T13:30, 7d, 6h or yesterday (UTC)", param, ctx
            )
        return found
