"""Heads: a model with the head of its pretraining came before one of its relatives that has a head for a task instead.

What is learned first is to fill in or go on with text, sound or pictures, and the head for that goes when a model is tuned to tell classes,
answers or similarity. The other way round a new one would have to be trained, for a whole vocabulary, on a model that was given up for
something else. A text model without any head is likelier the earlier one as well, though heads are taken off too.

Dimension letters: m models.
Source: how task classes are loaded from one checkpoint, Wolf et al. 2020, "Transformers: State-of-the-Art Natural Language Processing",
arXiv 1910.03771.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum

from lineage.detect.arrays import Tensor, torch
from lineage.detect.backbone import surrounds
from lineage.detect.signals.interface import Kind, SignalInputs
from lineage.detect.signature import Role, role_of

LOG_ODDS = 3.5
STEP_LOG_ODDS = (
    0.9  # between no head and either: heads are taken off as well as put on, and so this alone shuts out no parent
)
FEWEST_WORDS = 16  # rows of a vocabulary; proteins have 33
NEARLY = 0.9  # of the vocabulary: a head may lack the rows of pictures
_WORDS = re.compile(r"(^|\.)(wte|shared|embed_in|embed_tokens|((word|tok|token)_)?embeddings?)\.weight$")
_PRETRAINING = re.compile(
    r"(^|\.)(final_logits_bias|quantizer\.codevectors|project_hid\.weight|discriminator_predictions\.dense_prediction\.weight)$"
)
_TASK = re.compile(r"(^|\.)(classifier|classification_head|score|qa_outputs|logits_proj)(\.|$)")
_MASK, _DECODER = "mask_token", "decoder."  # of what draws hidden pieces of pictures


class Head(IntEnum):
    """What a model's head is for: the greater, the later."""

    PRETRAINING = 0
    NONE = 1
    TASK = 2


class HeadsSignal:
    name = "heads"
    kind = Kind.CERTAIN
    phrase = "it has a head for a task, where the other one has that of pretraining"

    def measure(self, family: SignalInputs) -> Tensor:
        """LOG_ODDS where the child has a head for a task and the parent that of pretraining; STEP_LOG_ODDS where one of the two has none; 0
        where both have one alike, or that is not known of one."""
        layouts = {id(model.sketch.layout): model.sketch.layout for model in family.models}  # most models share theirs
        found = {place: head_of(layout) for place, layout in layouts.items()}
        kinds = [found[id(model.sketch.layout)] for model in family.models]
        known = torch.tensor([kind is not None for kind in kinds])
        stage = torch.tensor([float(kind or 0) for kind in kinds], dtype=torch.float64)
        later = (stage[:, None] - stage[None, :]) * (known[:, None] & known[None, :])
        return by_stages(later)


def by_stages(later: Tensor) -> Tensor:
    """Log-odds, elementwise, that one of two models came first whose head is so many stages of `Head` before the other one's."""
    return (STEP_LOG_ODDS + (LOG_ODDS - STEP_LOG_ODDS) * (later.abs() > 1).double()) * later.sign()


def head_of(layout: Mapping[str, tuple[int, ...]]) -> Head | None:
    """What a model's head is for, from its tensors, canonical name -> shape. None where it has none and no vocabulary."""
    words = {shape[0] for name, shape in layout.items() if len(shape) == 2 and _WORDS.search(name)}
    words = {rows for rows in words if rows >= FEWEST_WORDS}
    heads = {name for name, shape in layout.items() if role_of(name, "F32", shape) is Role.HEAD}
    around = heads | {name for name in layout if surrounds(name)}
    if _draws(layout) or any(_over_words(layout[name], words) for name in around):
        return Head.PRETRAINING
    if any(_PRETRAINING.search(name) for name in layout):
        return Head.PRETRAINING
    if heads or any(_TASK.search(name) for name in around):
        return Head.TASK
    return Head.NONE if words else None


def _over_words(shape: tuple[int, ...], words: set[int]) -> bool:
    return bool(shape) and any(NEARLY * rows <= shape[0] <= rows / NEARLY for rows in words)


def _draws(layout: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a model has a decoder that fills in hidden pieces of a picture."""
    return any(_MASK in name for name in layout) and any(name.startswith(_DECODER) for name in layout)
