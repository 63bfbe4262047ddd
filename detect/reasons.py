"""Why a decision was made, as the key of a template with the numbers and models that fill it. The sentence is made when it is shown.

So the graph holds no sentences: models are kept by identity and get the name that they have when the answer is shown.
A published method brings its own template, see methods/registry.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lineage.detect.methods.registry import METHODS
from lineage.graphdb.schema import CONTRADICTED_ADAPTER

FAR = 0.5  # of a model's length: what lies farther away is not called near
GROWTH_TELLS = 3.0  # |z| of growth below this says nothing
TEMPLATES = {
    "alone": "no other model of its architecture is known",
    "could_not_compare": "could not compare: {message}",
    "copy_same_files": "the files are the same bytes",
    "copy_equal_values": "all {values:,} values compared are equal",
    "copy_noise": "{original} with noise of {percent:.2g} % added: the difference is white, of one level, and follows no gradient",
    "copy_scaled": "{original} with its tensors scaled by up to {factor:.4g}",
    "copy_unknown": "the weights do not show which is the copy",
    "tie_same_files": "equal to {original}: the files are the same bytes; the weights do not show which is the copy",
    "tie_equal_values": "equal to {original}: all {values:,} values compared are equal; the weights do not show which is the copy",
    "equals_of_parent": "{parent} has the same weights as {models}",
    "equals_of_parent.part": "the part {part} of {parent} has the same weights as that of {models}",
    "parent_of_both": "the parent of both: {reason}",
    "unrelated": "none of {count} models of its architecture is related to it",
    "unrelated.one": "the only other model of its architecture is not related to it",
    "same_weights": "no relatives but {count} other models whose compared weights are the same, which may as well be its original",
    "same_weights.one": "no relative but another model whose compared weights are the same, which may as well be its original",
    "original": "the original of {count} models with identical weights or an identical body",
    "original.one": "the original of a model with identical weights or an identical body",
    "oldest": "the oldest of {count} related models that are known",
    "original_altered": "the original of {count} models that have its weights as they are, scaled or with noise added",
    "original_altered.one": "the original of a model that has its weights scaled or with noise added",
    "only_layers": "the models made of its layers are the only relatives known",
    "only_like_layers": "the only relatives known have layers like some of its own, and whether they were made of these is not certain",
    "only_itself": "only another part of itself is related to it",
    "no_other_backbone": "no other model of its backbone is known",
    "no_relatives": "compared with {count} other models of its backbone, related to none",
    "no_relatives.one": "compared with 1 other model of its backbone, related to none",
    "no_near_relatives": "compared with {count} other models of its backbone, none of which is a near relative",
    "no_near_relatives.one": "compared with 1 other model of its backbone, which is no near relative",
    "common_start": (
        "it and {nearest} had a start in common, or one is a long training of the other: the relatedness is {cosine:.2f}, that of a copy 1"
    ),
    "nearest_cosine": "the relatedness of the nearest is {cosine:z.2f}, that of a copy 1",
    "not_grown": (
        "its units alone do not show that they grew out of those of {parent} (growth z = {z:+.1f}); what is known of the whole family does"
    ),
    "grew": "its units grew out of those of {parent} (growth z = {z:+.1f})",
    "decayed": "weights without a gradient are those of {parent}, shrunk by decay",
    "scaled_units": "some of its units are those of {parent}, each times one factor",
    "inherited": "what {parent} had learned before is still in it (slope {slope:.2f})",
    "same_run": "both look like files of one training run",
    "low_rank": "the change has rank {rank} in {modules} and is zero elsewhere, as merged LoRA leaves it",
    "contradiction": "the trained detector and the learning-free evidence contradict each other about {parent}",
    "turned_round": "the family's tree has it below {parent}, but growth and the trained detector both say that it came before {parent}",
    "more_batches": "the weights look as if it came from {parent}, where batch norm had counted more batches than in it",
    "denied_by_part": "this part alone would come from {parent}, which is no candidate in another part that both have",
    "told_otherwise": "the weights look as if it came from {parent}, which was published later and whose card names it as its base",
    "oldest_in_other_part": "cannot tell whether it or {parent} came first, which has other parts as well and is the oldest in these",
    "two_candidates": "cannot tell {first} and {second} apart as its parent",
    "no_direction": "cannot tell whether {parent} is its parent, its child or a sibling",
    "of_unseen": "one of {count} related models that may all come from one that is not here",
    "unseen_parent": "descends from {parent}, or from an unseen model near it (they are {distance:.2g} of its length apart)",
    "unseen_parent.far": "descends from {parent}, or from an unseen model ({parent} is {distance:.2g} of its length away)",
    "or_nearly_equal": "or it comes from {models}, so near to that one that the probability is of both",
    "partly_of_claimed": "{share:.2f} of what {claimed} changed since is in it, which its card names: it may be a merge of that one",
    "same_base": "its card names the same base as that of {parent}, and that is not here",
    "equal_body": "every weight of its body is equal bit for bit; at most its head or vectors were trained",
    "equal_body.part": "every weight of its part {part} is equal bit for bit; of that at most vectors were trained",
    "equal_part": (
        "every matrix that both have, its head left out, is equal bit for bit, {percent:.0f} % of the smaller model; "
        "at most heads or vectors were trained, and others have no counterpart"
    ),
    "equal_body_first": "cannot tell which of {count} such models came first",
    "equal_but_later": (
        "of these {parent} is likeliest, but batch norm had counted more batches there than in another: all may come from an unseen model"
    ),
    "adapter_inside": "every weight of its body is that of {models} bit for bit, and it holds an adapter that was not merged",
    "equal_bodies": "the bodies of {models} are equal bit for bit; cannot tell which of them came first",
    "equal_bodies.part": "the parts {part} of {models} are equal bit for bit; cannot tell which of them came first",
    "equal_parts": (
        "the matrices that {models} both have are equal bit for bit, {percent:.0f} % of the smaller model; cannot tell which came first"
    ),
    "merge": "every weight is a mean of those of {first} ({first_share:.2f}) and {second} ({second_share:.2f})",
    "merge_mean": "every weight is a mean of those of {models}, in shares of {shares}",
    "merge_of": "a merge ({method}) of {models}, in shares of {shares}",
    "merge_weighted": "a merge ({method}) of {models}, with weights of {shares}",
    "merge_base": "their differences from {base} were merged",
    "merge_unseen": "a further parent is not at hand",
    "tuned_merge": "it goes next to none of the way from the merge {parent} to what that was merged from, as what was trained from it",
    "merge_unknown": (
        "{percent:.2g} % of its values near zero are exactly those of {models} although those beside them moved, as merges leave them and "
        "training does not; cannot tell which models were merged"
    ),
    "merge_near": (
        "its weights are nearly a sum of those of {models}, times {shares}: it or one of these is a merge of the others, or of models near "
        "to them that are not at hand"
    ),
    "between": "{parent} is nearest, and lies between it and {third} as a merge of both does; cannot tell which came first",
    "made_over": "it has only some of the layers of {parent}, or copies of them",
    "taken_before": "{parent} is some layers of {models} as they are, so it was there before what is near to it",
    "related_by_others": "is in one family with {parent} only by way of others, such as a merge of both; not related to it itself",
    "too_far": (
        "{parent} is likeliest, but {distance:.2g} of its length away: trainings of one random start lie so far apart, children do not"
    ),
    "few_values": "{parent} is likeliest, and {values} values are too few to assert anything",
    "too_few_in_common": "the {values:,} values that the two have in common are too few to say whether they are related",
    "pruned": "a pruned copy: {percent:.2g} % of the values of {parent} were set to zero, all others are equal bit for bit",
    "of_pruned": "trained from a pruned copy: {parent} is at {share:.2f} of the distance of {original}, of which that is a copy",
    "rounded": "every value compared is that of {parent} rounded to {digits} binary digits",
    "cast": "cast to {dtype}: every value compared is that of {parent}, rounded",
    "packed_left_alone": (
        "a quantized copy ({format}): {equal_values:,} values that were not packed are those of {parent}, and the packed ones fit it best"
    ),
    "packed_values": "a quantized copy ({format}): of all models, {parent} fits its values best",
    "packed_two": "a quantized copy ({format}): cannot tell {parent} and {second} apart as its original",
    "packed_unseen": "a quantized copy ({format}) of a model that is not at hand, related to {parent}",
    "packed_unknown": "a quantized copy; its original is not known",
    "packed_kin": "{nearest} is nearest to it: the relatedness is {cosine:.2f}, that of a copy 1",
    "only_copies": "{count} quantized copies, of it or of a model near it, are the only relatives known",
    "only_copies.one": "a quantized copy, of it or of a model near it, is the only relative known",
    "packed_equal_values": "a quantized copy: {equal_values:,} values that were not packed are those of {parent}",
    "packed_unread": "a quantized copy whose packed numbers are not compared; it names {parent}, whose weights were not read",
    "packed_same_shapes": (
        "a quantized copy whose packed numbers are not compared; it names {parent}, and every tensor has the same shape there"
    ),
    "packed_same_vectors": (
        "a quantized copy whose packed numbers are not compared; it names {parent}, and what was not packed has the same shapes there"
    ),
    "packed_other_shapes": "a quantized copy; it names {parent}, whose tensors have other shapes",
    "layers_stacked": "its {layers} layers are stacked from the {layers_of_parent} of {parent}: {map}",
    "layers_chosen": "its {layers} layers are made of some of the {layers_of_parent} of {parent}: {map}",
    "layers_equal": "its {layers} layers are some of the {layers_of_parent} of {parent}, bit for bit: {map}",
    "layers_like": "its {layers} layers are like some of the {layers_of_parent} of {parent}: {map}; "
    "whether it was made of them is not certain",
    "layers_of_several": "its layers are those of {models}, unchanged",
    "renamed": "all or some of their tensors have other names; the values show which is which",
    "folded": "an export of {parent}: each of its kernels is one of {parent} times one factor, the batch norm folded in",
    "folded_kin": (
        "related to {parent}, which keeps its batch norms: with norms folded in, as exports have them, kernels do not show which came first"
    ),
    "upcycled": "its experts are copies of the feed-forward layers of {parent}, trained on",
    "repeated": "it has several copies of tensors of {parent}, trained on",
    "adapter": "{adapter}",
    "adapter_unread": "an adapter whose tensors are not read",
    "adapter_damaged": "a damaged adapter: {problem}",
    "adapter_fits": "{base} is declared, and all {count} parts fit there",
    "adapter_fits.one": "{base} is declared, and it fits there",
    "adapter_by_claim": "{base} is declared, and has all {count} parts by name; weights of other sizes would do as well, so that the claim "
    "alone decides",
    "adapter_by_claim.one": "{base} is declared, and has the part by name; a weight of another size would do as well, so that the claim "
    "alone decides",
    "adapter_renamed": "under other names, block by block",
    "adapter_through": "by way of {adapters}",
    "adapter_vocabulary": "it has {rows:,} rows of vocabulary, its base {rows_of_base:,}",
    CONTRADICTED_ADAPTER: "{base} is declared and cannot be its base: {misfit}",
    "adapter_unchecked": "it names {base}",
    "adapter_base_unread": "it names {base}, whose tensors were not read",
    "adapter_incomplete": "it names {base}, where {lacking} of {of} parts are not found by name, such as {module}",
    "adapter_elsewhere": "{name} is declared and not known here",
    "adapter_no_claim": "no base is declared",
    "adapter_path": "its base is given as a path: {path}",
    "adapter_hash": "its base is given by the hash of a file that is not known here: {path}",
    "adapter_itself": "it names itself as its base",
    "adapter_circle": "its bases are adapters in a circle: {adapters}",
    "adapter_too_deep": "more than {hops} adapters lie upon one another",
    "adapter_fits_none": "it fits no known model",
    "adapter_fits_one": "it fits {parent}",
    "adapter_fits_several": "it fits {models} known models",
    "replaced": "{successor} is another repository now, with the same weights; what was found of this one is history",
    "names_no_parent": "{method} names no parent",
}  # fmt: skip
OF_METHOD = "method:"  # begins the keys of published methods


@dataclass(frozen=True, slots=True)
class Reason:
    """
    Attributes:
        key: of a template.
        values: JSON-serialisable numbers and texts that fill it; `count` 1 takes the template `KEY.one` where there is one, a `distance`
            that is far `KEY.far`, a `part` `KEY.part`.
        models: the same for models, by their ids; several of them are listed.
        reasons: reasons within it.
        then: further clauses.
    """

    key: str
    values: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    reasons: Mapping[str, Reason] = field(default_factory=dict)
    then: tuple[Reason, ...] = ()

    def and_then(self, *more: Reason) -> Reason:
        """The same with more clauses."""
        return Reason(self.key, self.values, self.models, self.reasons, (*self.then, *more))

    def text(self, name_of: Callable[[str], str | None] = str) -> str:
        """The sentence for people.

        Args:
            name_of: id of a model -> its name; where it is None, the id is shown.
        """

        def name(models: str | tuple[str, ...]) -> str:
            return " and ".join(name_of(m) or m for m in ([models] if isinstance(models, str) else models))

        filled = {
            **self.values,
            **{key: name(models) for key, models in self.models.items()},
            **{key: reason.text(name_of) for key, reason in self.reasons.items()},
        }
        try:
            more = (self.values.get(name) for name in ("count", "distance", "part"))
            first = template(self.key, *more).format(**filled)
        except (KeyError, ValueError, IndexError, AttributeError, TypeError):  # kept by a newer version
            first = f"{self.key} {', '.join(f'{key} {value}' for key, value in filled.items())}".strip()
        return "; ".join([first, *(clause.text(name_of) for clause in self.then)])

    def renamed(self, rename: Callable[[str], str]) -> Reason:
        """The same with other ids of models."""
        return Reason(
            self.key,
            self.values,
            {k: rename(m) if isinstance(m, str) else tuple(map(rename, m)) for k, m in self.models.items()},
            {key: reason.renamed(rename) for key, reason in self.reasons.items()},
            tuple(clause.renamed(rename) for clause in self.then),
        )

    def as_json(self) -> dict[str, Any]:
        """JSON-serialisable; empty parts are left out."""
        parts: dict[str, Any] = {
            "values": dict(self.values),
            "models": {key: m if isinstance(m, str) else list(m) for key, m in self.models.items()},
            "reasons": {key: reason.as_json() for key, reason in self.reasons.items()},
            "then": [clause.as_json() for clause in self.then],
        }
        return {"key": self.key, **{name: part for name, part in parts.items() if part}}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Reason:
        """What `as_json` gave; parts that are missing are empty."""
        models = {key: m if isinstance(m, str) else tuple(m) for key, m in kept.get("models", {}).items()}
        return cls(
            str(kept["key"]),
            dict(kept.get("values", {})),
            models,
            {key: cls.from_json(reason) for key, reason in kept.get("reasons", {}).items()},
            tuple(cls.from_json(clause) for clause in kept.get("then", ())),
        )

    def __str__(self) -> str:
        """The sentence with ids in the place of names."""
        return self.text()


NONE = Reason("")


def template(key: str, count: object = None, distance: object = None, part: object = None) -> str:
    """
    Args:
        count: 1 takes `KEY.one`; distance: from FAR on takes `KEY.far`; part: of a model takes `KEY.part`; each where there is one.
    Raises:
        KeyError: there is no such template in this version.
    """
    if key.startswith(OF_METHOD):
        return next(m.reason for m in METHODS if m.name == key.removeprefix(OF_METHOD) and m.reason)
    one = TEMPLATES.get(f"{key}.one") if count == 1 else None
    far = TEMPLATES.get(f"{key}.far") if isinstance(distance, float | int) and distance >= FAR else None
    of_part = TEMPLATES.get(f"{key}.part") if part else None
    return one or far or of_part or TEMPLATES[key]
