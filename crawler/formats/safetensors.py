"""Safetensors files: one, numbered shards, or those that an index names. The header is parsed in crawler/headers.py.

Format: https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lineage.crawler.formats.interface import Format, Opening, Readable
from lineage.crawler.packing.unpacking import UnpackedWeights
from lineage.crawler.selection import INDEX_SUFFIX, Choice, WeightSet, choose, is_safetensors, weight_sets
from lineage.crawler.weights import WeightFile, Weights


class Safetensors(Format):
    kind = "safetensors"
    suffixes = (".safetensors",)

    def open(self, files: Sequence[WeightFile], how: Opening) -> Readable:
        return UnpackedWeights(Weights(files, how.header_limit_bytes, how.parallel, how.placed))

    def sets(self, paths: Collection[str]) -> list[WeightSet]:
        return weight_sets(paths)

    def choose(self, paths: Collection[str]) -> Choice | None:
        """None also for files that are no weights of a model, such as an index alone."""
        if not any(is_safetensors(path) or path.endswith((INDEX_SUFFIX, "adapter_config.json")) for path in paths):
            return None  # most repositories of the Hub
        choice = choose(paths)
        return choice if choice.weights is not None or choice.adapter or weight_sets(paths) else None
