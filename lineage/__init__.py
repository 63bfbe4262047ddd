"""Which model a model was trained from, from the weights themselves."""

from __future__ import annotations

__version__ = "0.1.0"
