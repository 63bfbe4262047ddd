"""Which evidence counts and which method decides, as the command line and the Python API name them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lineage.detect.options import Options


def options_of(
    no_dates: bool,
    no_declared: bool,
    no_detector: bool,
    method: str,
    threshold: float | None,
    method_option: Iterable[str] = (),
    missing_parents: float | None = None,
) -> Options:
    """The evidence options as detection takes them.

    Raises:
        BadSetting: an option that is not KEY=VALUE, or that the method does not know.
    """
    from lineage.detect.methods.registry import read_settings
    from lineage.detect.options import MISSING_PARENTS, THRESHOLD, Options

    settings = read_settings(method, method_option)
    return Options(
        threshold or THRESHOLD,
        not no_dates,
        not no_declared,
        not no_detector,
        method=method,
        settings=settings,
        missing_parents=MISSING_PARENTS if missing_parents is None else missing_parents,
    )
