"""The methods that `--method NAME` knows. Plain data: a method's code is imported when it is asked for, so this file loads no torch.

A method is a function `decide(subjects, options, device) -> list[Decision]` about models of one signature, in their order, like
`detect.pipeline.decide`, which is the method `lineage`. A method that needs more than samples of weights takes `given: Given` as well.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from graphdb.schema import Failure

if TYPE_CHECKING:
    import torch

    from detect.decision import Decision
    from detect.pipeline import Options, Subject

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
        needs: "weights": sketches are enough; "forward": `Given` with forward and batch; "either": sketches are enough, and more is used
            where it is given; "outputs": not a method for `--method`, a command of its own.
        load: `module:function` of its `decide`.
    """

    name: str
    summary: str
    source: str
    needs: Literal["weights", "forward", "either", "outputs"]
    load: str
    settings: tuple[Setting, ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
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
    Setting("approximation", "taylor", "of fine-tuning, before features are compared", ("taylor", "linear", "none")),
    Setting("scale", 1.0, "of the approximated step (1 in the released code, 0.01 in its README)"),
    Setting("layer", "", "name of the features to compare; empty: the third that the function gives"),
    Setting("samples", 1024, "of the batch that are used"),
)

METHODS: tuple[Method, ...] = (
    Method(
        PLAIN,
        "relatedness, growth, inheritance and drift of all sampled weights, joined in one tree; says when it cannot tell",
        "this project, README.md",
        "weights",
        "detect.pipeline:decide",
    ),
    Method(
        "nl-l1",
        "nearest features by mean absolute difference, after fine-tuning is approximated; without --forward nearest weights",
        _NEURAL_LINEAGE,
        "either",
        "detect.methods.nl_free:decide_l1",
        (
            *_FEATURES,
            Setting(
                "variant", "l1", "lp (power 4) and lse (log-sum-exp) are in the released code only", ("l1", "lp", "lse")
            ),
        ),
    ),
    Method(
        "nl-l2",
        "the same by mean squared difference; without --forward nearest weights",
        _NEURAL_LINEAGE,
        "either",
        "detect.methods.nl_free:decide_l2",
        _FEATURES,
    ),
    Method(
        "nl-cka",
        "the same by linear centred kernel alignment; layers may differ in width",
        _NEURAL_LINEAGE,
        "forward",
        "detect.methods.nl_free:decide_cka",
        _FEATURES,
    ),
    Method(
        "nl-dc",
        "the same by distance correlation; layers may differ in width",
        _NEURAL_LINEAGE,
        "forward",
        "detect.methods.nl_free:decide_dc",
        _FEATURES,
    ),
    Method(
        "nl-detector",
        "trained network over weights and features of a child and its candidates, which can answer that none is the parent",
        _NEURAL_LINEAGE,
        "either",
        "detect.methods.nl_detector:decide",
        (_PARENTS, Setting("file", "", "the trained network, made by `lineage train nl-detector`")),
    ),
)


def method(name: str) -> Method:
    """
    Raises:
        UnknownMethod: there is none of this name.
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
    given: Given | None = None,
) -> list[Decision]:
    """Decisions of one method about models of one signature, in their order. The method reads its settings from `options.settings`.

    Raises:
        UnknownMethod, BadSetting: wrong name or settings. NeedsMore: the method needs forward passes and there is no `given`.
        Failure: what the method itself cannot take.
    """
    chosen = method(name)
    settings_of(name, options.settings)
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
