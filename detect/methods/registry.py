"""The methods that `--method NAME` knows. Plain data: a method's code is imported when it is asked for, so this file loads no torch.

A method is a function `decide(subjects, options, device) -> list[Decision]` about models of one signature, in their order, like
`lineage.detect.pipeline.decide`, which is the method `lineage`. A method that needs more than samples of weights takes
`given: Given` as well.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lineage.graphdb.schema import Failure

if TYPE_CHECKING:
    import torch

    from lineage.detect.decision import Decision
    from lineage.detect.model_input import Subject
    from lineage.detect.options import Options

Value = str | int | float | bool
PLAIN = "lineage"  # our own method, the default


class UnknownMethod(Failure):
    """There is no method of this name."""


class BadSetting(Failure):
    """A `--method-option` that the method does not have, or a value that it cannot take."""

    exit_code = 2


class NeedsMore(Failure):
    """A method that needs forward passes or outputs was asked without them."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Setting:
    """One option of a method. The type of `default` is the type of its values; `choices`, if any, are all that it takes."""

    name: str
    default: Value
    summary: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Method:
    """
    Attributes:
        source: the paper, with its address.
        needs: "weights": sketches are enough; "forward": `MethodInputs` with forward and batch; "either": sketches are enough, and more
            is used where it is given; "outputs": not a method for `--method`, a command of its own.
        load: `module:function` of its `decide`.
        version: goes up when its answers change.
        reason: why it names a parent, in words, with `{parent}` and what else its decisions give; empty for one that names none.
    """

    name: str
    summary: str
    source: str
    needs: Literal["weights", "forward", "either", "outputs"]
    load: str
    settings: tuple[Setting, ...] = ()
    version: str = "1"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MethodInputs:
    """What a method that looks beyond samples of weights is given. The callable is the user's own, never a repository's.

    Attributes:
        forward: (all tensors of one model by name, batch) -> what the model computes: features by name, the last one its outputs.
        batch: tensors by name, as read from the file that `--batch` names.
        tensors: id of a model -> all its tensors by name.
    """

    forward: Callable[[Mapping[str, torch.Tensor], Mapping[str, torch.Tensor]], Mapping[str, torch.Tensor]]
    batch: Mapping[str, torch.Tensor]
    tensors: Callable[[str], Mapping[str, torch.Tensor]]


_NEURAL_LINEAGE = "Yu & Wang, CVPR 2024, Neural Lineage, https://arxiv.org/abs/2406.11129"
_PARENTS = Setting(
    "parents", "", "comma-separated patterns of the models that may be parents; empty: every other model"
)
_FEATURES = (
    _PARENTS,
    Setting(
        "approximation",
        "linear",
        "of fine-tuning before features are compared: linear as in the paper, taylor as in its code",
        ("linear", "taylor", "none"),
    ),
    Setting("scale", 1.0, "of the approximated step (1 in the released code, 0.01 in its README)"),
    Setting("layer", "", "name of the features to compare; empty: the third that the function gives"),
    Setting("samples", 1024, "of the batch that are used"),
)

_SIMILAR = "the features of {parent} are the most similar ones"

_NEURAL_PHYLOGENY = "Neural Phylogeny, Yu & Wang, ICLR 2025, https://openreview.net/forum?id=jv2zHOalpL"
_NP_VALUES = (
    Setting(
        "tensor", "auto", "canonical name of the one that is looked at; all: every sampled value; auto: the paper's"
    ),
    Setting("first", 1024, "how many of its values"),
    Setting("start", "uniform", "distribution of the random start", ("uniform", "normal")),
    Setting("draws", 100, "random starts that vote, as in the paper; the released code draws 1"),
    Setting("seed", 0, "of everything random"),
)
_CLUSTERS = Setting("clusters", 0, "number of clusters, an input in the paper; 0: chosen by the silhouette")
_ALPHA = Setting("alpha", 1.0, "share of updates that go to the mean; 1: parents are found after clustering")
_NORM = Setting("norm_at_most", 0.0, "with alpha below 1, models of a larger norm are no first centres; 0: all may be")
_BANDWIDTH = Setting("bandwidth", 1.0, "of the flat kernel; 0: estimated from the data")
_EPS = Setting("eps", 0.5, "largest distance of neighbours")
_NEIGHBOURS = Setting("neighbours", 5, "how many make a core, itself included")
_AMONG = Setting("among", "related", "whom it may choose: models found to be related, or all", ("related", "all"))

METHODS: tuple[Method, ...] = (
    Method(
        PLAIN,
        "growth, inheritance and a trained detector over all sampled weights, joined in one tree; says when it cannot tell",
        "this project, README.md",
        "weights",
        "lineage.detect.pipeline:decide",
        (Setting("detector", "", "one that `lineage train detector` wrote, in place of the one that ships"),),
    ),
    *(
        Method(
            name,
            f"{text}; the parent of a cluster is nearest to a random start",
            _NEURAL_PHYLOGENY,
            "weights",
            f"lineage.detect.methods.np_cluster:{name.removeprefix('np-')}",
            (*own, *_NP_VALUES),
            reason="{parent} is nearest to a random start in its cluster",
        )
        for name, text, own in (
            (
                "np-kmeans",
                "KMeans, parents found after it or, with alpha below 1, along the way",
                (_CLUSTERS, _ALPHA, _NORM),
            ),
            (
                "np-meanshift",
                "MeanShift, parents found after it or, with alpha below 1, along the way",
                (_BANDWIDTH, _ALPHA),
            ),
            ("np-dbscan", "DBSCAN, models without cluster are roots", (_EPS, _NEIGHBOURS)),
            ("np-gmm", "Gaussian mixture with full covariance", (_CLUSTERS,)),
        )
    ),
    Method(
        "np-detector",
        "trained network that sees 32 x 32 values of every pair of models as a picture",
        _NEURAL_PHYLOGENY,
        "weights",
        "lineage.detect.methods.np_detector:decide",
        (Setting("file", "", "the trained network, made by `lineage train np-detector`"),),
        reason="{parent} is what the trained network chooses",
    ),
    Method(
        "mother",
        "weight distance, kurtosis and the cheapest arborescence",
        "Horwitz, Shul, Hoshen, ICLR 2025, https://arxiv.org/abs/2405.18432",
        "weights",
        "lineage.detect.methods.mother:decide",
        (
            Setting("trees", 0, "how many trees there are; 0: the silhouette chooses"),
            Setting("stage", "specialisation", "which way kurtosis goes", ("specialisation", "generalisation")),
            Setting("tuning", "full", "what distance measures", ("full", "lora")),
            Setting("layers", "square", "which matrices are compared; the paper's are square", ("square", "all")),
            Setting("kurtosis_of", "", "of which of them, by a part of the name; all if empty"),
            Setting("against", 0.3, "cost of an edge against kurtosis, over the mean distance"),
        ),
        reason="{parent} is the parent in the cheapest arborescence",
    ),
    Method(
        "atlas",
        "near-duplicate, date and distance rules; for evaluation only, needs dates",
        "Horwitz et al. 2025, https://arxiv.org/abs/2503.10633",
        "weights",
        "lineage.detect.methods.atlas:decide",
        (
            Setting("nearest", 5, "K: how many earlier models are looked at"),
            Setting("quantile", 0.6, "of all correlations, above which distance follows time"),
            Setting("neurons", 100, "how many units are compared"),
            Setting("seed", 0, "of the choice of units"),
        ),
        reason="{parent} is the earlier model that the rules of the atlas choose",
    ),
    Method(
        "nearest",
        "the nearest model",
        "plain rule",
        "weights",
        "lineage.detect.methods.plain:nearest",
        (_AMONG,),
        reason="{parent} is the nearest model",
    ),
    Method(
        "min-norm",
        "the nearest model of smaller norm",
        "plain rule; Neural Phylogeny's direction in expectation",
        "weights",
        "lineage.detect.methods.plain:min_norm",
        (_AMONG,),
        reason="{parent} is the nearest model of smaller norm",
    ),
    Method(
        "effective-rank",
        "the nearest model of lower effective rank",
        "plain rule; TensorLock's direction; Roy & Vetterli 2007",
        "weights",
        "lineage.detect.methods.plain:by_effective_rank",
        (_AMONG,),
        reason="{parent} is the nearest model of lower effective rank",
    ),
    Method(
        "kurtosis",
        "the nearest model of higher, or lower, kurtosis",
        "plain rule; MoTHer's direction",
        "weights",
        "lineage.detect.methods.plain:by_kurtosis",
        (_AMONG, Setting("parent", "higher", "whose kurtosis is", ("higher", "lower"))),
        reason="{parent} is the nearest model of {which} kurtosis",
    ),
    Method(
        "nl-l1",
        "nearest features by mean absolute difference, after fine-tuning is approximated; without --forward nearest weights",
        _NEURAL_LINEAGE,
        "either",
        "lineage.detect.methods.nl_free:decide_l1",
        (
            *_FEATURES,
            Setting(
                "variant", "l1", "lp (power 4) and lse (log-sum-exp) are in the released code only", ("l1", "lp", "lse")
            ),
        ),
        reason=_SIMILAR,
    ),
    Method(
        "nl-l2",
        "the same by mean squared difference; without --forward nearest weights",
        _NEURAL_LINEAGE,
        "either",
        "lineage.detect.methods.nl_free:decide_l2",
        _FEATURES,
        reason=_SIMILAR,
    ),
    Method(
        "nl-cka",
        "the same by linear centred kernel alignment; layers may differ in width",
        _NEURAL_LINEAGE,
        "forward",
        "lineage.detect.methods.nl_free:decide_cka",
        _FEATURES,
        reason=_SIMILAR,
    ),
    Method(
        "nl-dc",
        "the same by distance correlation; layers may differ in width",
        _NEURAL_LINEAGE,
        "forward",
        "lineage.detect.methods.nl_free:decide_dc",
        _FEATURES,
        reason=_SIMILAR,
    ),
    Method(
        "nl-detector",
        "trained network over weights and features of a child and its candidates, which can answer that none is the parent",
        _NEURAL_LINEAGE,
        "either",
        "lineage.detect.methods.nl_detector:decide",
        (_PARENTS, Setting("file", "", "the trained network, made by `lineage train nl-detector`")),
        reason="the detector finds the weights and features of {parent} in it",
    ),
    Method(
        "phylolm",
        "tree of language models from their answers to the same prompts, without direction: `lineage phylolm`",
        "Yax, Oudeyer & Palminteri, ICLR 2025, PhyloLM, https://arxiv.org/abs/2404.04671",
        "outputs",
        "lineage.detect.methods.phylolm:compare",
    ),
)


def method(name: str) -> Method:
    """
    Raises:
        UnknownMethod: unknown name.
    """
    for known in METHODS:
        if known.name == name:
            return known
    raise UnknownMethod(f"there is no method {name!r}", f"one of {', '.join(m.name for m in METHODS)}")


def read_settings(name: str, pairs: Iterable[str]) -> dict[str, str]:
    """`KEY=VALUE` texts, checked against the method.

    Raises:
        BadSetting: not KEY=VALUE, given twice, or nothing that the method takes.
    """
    texts: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key or key in texts:
            raise BadSetting(f"--method-option takes KEY=VALUE, each key once, not {pair!r}")
        texts[key] = value
    settings_of(name, texts)
    return texts


def settings_of(name: str, texts: Mapping[str, str]) -> dict[str, Any]:
    """All settings of a method: those given as text, the others by default.

    Raises:
        BadSetting: the method has no such setting, or it does not take this value.
    """
    known = {setting.name: setting for setting in method(name).settings}
    for key in texts:
        if key not in known:
            names = ", ".join(known) or "none"
            raise BadSetting(f"method {name} has no option {key!r}", f"its options: {names}; see `lineage methods`")
    return {key: _value(name, setting, texts.get(key)) for key, setting in known.items()}


def _value(name: str, setting: Setting, text: str | None) -> Value:
    if text is None:
        return setting.default
    if setting.choices and text not in setting.choices:
        raise BadSetting(f"{name}: {setting.name} is one of {', '.join(setting.choices)}, not {text!r}")
    if isinstance(setting.default, bool):
        if text.lower() not in ("yes", "no", "true", "false"):
            raise BadSetting(f"{name}: {setting.name} is yes or no, not {text!r}")
        return text.lower() in ("yes", "true")
    try:
        return type(setting.default)(text)
    except ValueError:
        kind = "a whole number" if isinstance(setting.default, int) else "a number"
        raise BadSetting(f"{name}: {setting.name} is {kind}, not {text!r}") from None


def decide_with(
    name: str,
    subjects: Sequence[Subject],
    options: Options,
    device: torch.device,
    given: MethodInputs | None = None,
) -> list[Decision]:
    """Decisions of one method about models of one signature, in their order. The method reads its settings from `options.settings`.

    Raises:
        UnknownMethod, BadSetting: wrong name or settings. NeedsMore: the method needs forward passes and there is no `given`.
        Failure: what the method itself cannot take.
    """
    chosen = method(name)
    settings_of(name, options.settings)
    if chosen.needs == "outputs":
        raise NeedsMore(
            f"method {name} compares answers, not weights, and names no parents", f"lineage {name} ANSWERS.json"
        )
    module, _, function = chosen.load.partition(":")
    decide = getattr(importlib.import_module(module), function)
    if chosen.needs == "weights":
        return list(decide(subjects, options, device))
    if given is None and chosen.needs != "either":
        raise NeedsMore(
            f"method {name} needs forward passes through the models",
            "give --forward package.module:function and --batch FILE.safetensors",
        )
    return list(decide(subjects, options, device, given))
