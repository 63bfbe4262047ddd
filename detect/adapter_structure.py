"""The tensors of an adapter -> what it adapts: modules by name with the sizes that their weights must have, ranks, and what it replaces.

Comes in: canonical names and shapes (a sketch's layout). Goes out: an `AdapterStructure`. Read are the names that peft writes (LoRA with
DoRA, AdaLoRA and embeddings, IA3, LoHa, LoKr, VeRA, OFT, BOFT, HRA, FourierFT, VB-LoRA, LN tuning, prompts, and further methods whose
tensors begin with a mark of their own, see METHODS_BY_MARK), those of diffusers (UNet, transformer, text encoders; old attention
processors), and those of kohya and LyCORIS, whose module names have `_` in place of dots. Tensors of a method that is not among them
are taken for whole tensors here; adapter_fit.py finds their modules by the names that a base has.

Shapes, for a module with weight (out, in, *kernel) and rank r: LoRA A (r, in, *kernel), B (out, r); LoRA on an embedding (rows, dim)
A (r, rows), B (dim, r); IA3 (out, 1) or (1, in); LoHa w1_a (out, r), w1_b (r, in); LoKr w1 (a, b), w2 (c, d): out = a c, in = b d.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt, prod

Shape = tuple[int, ...]

JOINED = "_"  # between the parts of a module's name, as kohya writes it
LARGEST_RANK = 4  # times the smaller side of the weight: a larger one is not used in practice, and would not be a product of low rank
_HALVES = re.compile(
    r"(?P<module>.+?)\.(?:processor\.(?P<old>to_\w+?)_lora\.|lora(?:_linear_layer)?\.)(?P<direction>down|up)\.weight"
    r"|(?P<module2>.+?)\.(?P<part>lora_(?:A|B|a|b|down|up|mid|E|magnitude_vector|embedding_[AB])|dora_scale|ia3_l|hada_[wt][12](?:_[ab])?"
    r"|lokr_(?:w[12](?:_[ab])?|t2)|vera_lambda_[bd]|oft_(?:R|r|blocks)|boft_[Rs]|hra_u|adaption_(?:prompt|gate)|fourierft_spectrum"
    r"|vblora_logits_[AB]|alpha|scale|ranknum)(?:\.\w+)?(?:\.weight|\.bias)?"
)
_WHOLE = re.compile(
    r"(?P<module>.+?)\.(?P<how>base_layer|ln_tuning_layers|modules_to_save)(?:\.default)?\.(?P<leaf>weight|bias)"
)
METHODS_BY_MARK = {
    "adamss": "AdaMSS", "beft": "BEFT", "bone": "Bone", "c3a": "C3A", "deft": "DEFT", "delora": "DeLoRA", "frod": "FRoD",
    "glora": "GLoRA", "gralora": "GraLoRA", "hira": "HiRA", "lily": "Lily", "miss": "MiSS", "osf": "OSF", "peanut": "PEANuT",
    "poly": "Poly", "psoft": "PSOFT", "pvera": "PVeRA", "randlora": "RandLoRA", "road": "RoAd", "shadow": "Shadow", "shira": "SHiRA",
    "supertuning": "SuperTuning", "tinylora": "TinyLoRA", "trainable_tokens": "trained tokens", "unilora": "UniLoRA", "waveft": "WaveFT",
}  # fmt: skip
_MARKED = re.compile(
    rf"(?P<module>.+?)(?:\.token_adapter)?\.(?P<part>(?P<mark>{'|'.join(METHODS_BY_MARK)})_[^.]+(?:\.[^.]+)*?)(?:\.weight)?"
)
_OUTSIDE = ("base_model", "base_model.model")  # where tensors lie that all modules share
_SHARED = re.compile(r"(^|\.)(vera_[AB]|vblora_vector_bank)(\.|$)")
_BANK = "vblora_vector_bank"  # (vectors, values of each), of which VB-LoRA's halves are made
_SIZES: Mapping[str, tuple[tuple[int, ...], tuple[int, ...], int | None]] = {
    # part -> axes whose product is the inputs, those of the outputs, the axis of the rank
    "delora_A": ((1,), (), 0), "delora_B": ((), (0,), 1), "tinylora_A": ((1,), (), 0), "tinylora_B": ((), (0,), 1),
    "lily_A": ((1,), (), 0), "lily_B": ((), (1,), None), "hira_A": ((1,), (), 0), "hira_B": ((), (0,), 1),
    "osf_svd_params.U_low": ((), (0,), None), "osf_svd_params.V_low": ((1,), (), 0),
    "poly_lora_A": ((0, 2), (), 3), "poly_lora_B": ((), (0, 3), 2), "gralora_A": ((0, 1), (), 2), "gralora_B": ((), (0, 2), 1),
    "adamss_newB": ((), (0,), None), "beft_bias": ((), (1,), None), "deft_P": ((), (0,), 1), "deft_R": ((1,), (), 0),
    "glora_A.Xd": ((), (0,), 1), "glora_A.Xu": ((1,), (), 0), "peanut_A": ((), (1,), 0),
    "c3a_kernel": ((1, 2), (0, 2), None), "pvera_lambda_b": ((), (0,), None), "trainable_tokens_delta": ((1,), (), None),
}  # fmt: skip
_PROMPT = re.compile(r"(^|\.)prompt_embeddings(\.weight)?$")
_OF_TASKS = re.compile(r"(^|\.)prefix_task_(cols|rows)$")  # what a prompt of many tasks is multiplied with
_DOWN = {
    "lora_A": "a",
    "lora_a": "a",
    "lora_down": "a",
    "down": "a",
    "lora_B": "b",
    "lora_b": "b",
    "lora_up": "b",
    "up": "b",
}
_COMPONENT_JOINED = re.compile(r"lora_(unet|te\d?|text_encoder(?:_\d)?|transformer|prior_unet|prior_te)_", re.ASCII)
_COMPONENT = re.compile(r"(unet|transformer(?!\.h\.)|text_encoder(?:_\d)?|prior)\.", re.ASCII)
_COMPONENT_NAMES = {"te": "text_encoder", "te1": "text_encoder", "te2": "text_encoder_2", "te3": "text_encoder_3"}
COMPONENTS = (
    "unet",
    "transformer",
    "text_encoder",
    "text_encoder_2",
    "text_encoder_3",
    "prior",
    "prior_unet",
    "prior_te",
)


@dataclass(frozen=True, slots=True)
class AdaptedModule:
    """
    Attributes:
        component: part of a pipeline, such as `unet`; empty for a plain model.
        name: of the module in its component; `joined` where `_` replaces the dots in it.
        inputs, outputs: sizes of its weight; None where the adapter works with any.
        rank: None where it is no product of two halves.
        broken: why its tensors do not fit each other; None where they do.
        container: it may be a module without a weight of its own, such as a whole attention.
        sides: sizes of which one must be a side of its weight; empty where the adapter works with any.
        divisor: of a side of its weight; of_both_sides: a multiple of the sum of both sides; values: that the weight has at least.
        by_name: found only by the name of a module that the base has, see adapter_fit.py.
    """

    component: str
    name: str
    joined: bool
    inputs: int | None
    outputs: int | None
    rank: int | None
    broken: str | None = None
    container: bool = False
    sides: tuple[int, ...] = ()
    divisor: int | None = None
    of_both_sides: int | None = None
    values: int = 0
    by_name: bool = False

    @property
    def sized(self) -> bool:
        """Whether it works only on weights of some sizes; to work on all that are large enough says little."""
        return bool(self.inputs or self.outputs or self.sides or self.divisor or self.of_both_sides)


@dataclass(frozen=True, slots=True)
class AdapterStructure:
    """
    Attributes:
        method: `LoRA`, `DoRA`, `IA3`, ...; `an unknown method` where no name is known.
        replaced: whole tensors that it brings: name (of the model's tensor) -> shape.
        prompt: (virtual tokens, values of each) of a tuned prompt or prefix.
    """

    method: str
    modules: tuple[AdaptedModule, ...]
    replaced: Mapping[str, Shape]
    prompt: tuple[int, int] | None = None

    @property
    def components(self) -> tuple[str, ...]:
        """Parts of a pipeline that it adapts; one empty name for a plain model."""
        return tuple(dict.fromkeys(module.component for module in self.modules)) or ("",)

    @property
    def ranks(self) -> tuple[int, ...]:
        """Every rank that occurs, ascending."""
        return tuple(sorted({module.rank for module in self.modules if module.rank is not None}))

    @property
    def targets(self) -> tuple[str, ...]:
        """Last parts of the adapted modules' names, as in `q_proj`; of joined names none is known."""
        return tuple(sorted({module.name.rpartition(".")[2] for module in self.modules if not module.joined}))

    @property
    def broken(self) -> str | None:
        """Why it cannot be an adapter of any model."""
        return next((f"{module.name}: {module.broken}" for module in self.modules if module.broken), None)

    def summary(self) -> str:
        """As in `LoRA of rank 8 in q_proj, v_proj (64 modules)`."""
        if self.prompt is not None:
            return f"{self.prompt[0]} virtual tokens of {self.prompt[1]} values"
        ranks = self.ranks
        rank = (
            "" if not ranks else f" of rank {ranks[0]}" if len(ranks) == 1 else f" of ranks {ranks[0]} to {ranks[-1]}"
        )
        targets = self.targets
        shown = ", ".join(targets[:6]) + (" …" if len(targets) > 6 else "")
        count = f"{len(self.modules)} module{'' if len(self.modules) == 1 else 's'}"
        named = [component for component in self.components if component]
        if not self.modules:
            return f"{self.method} ({len(self.replaced)} whole tensor{'' if len(self.replaced) == 1 else 's'})"
        return f"{self.method}{rank} in {' and '.join(named) or shown or 'no module'} ({count})"


def structure_of(layout: Mapping[str, Shape]) -> AdapterStructure:
    """
    Args:
        layout: name -> shape of every tensor of the adapter.
    """
    parts: dict[str, dict[str, Shape]] = {}
    replaced: dict[str, Shape] = {}
    prompt = None
    for name, shape in layout.items():
        if _PROMPT.search(name) and len(shape) == 2:
            prompt = (shape[0], shape[1])
            continue
        if _SHARED.search(name) or _OF_TASKS.search(name):
            continue
        whole = _WHOLE.fullmatch(name)
        found = None if whole else _HALVES.fullmatch(name)
        marked = None if whole or found else _MARKED.fullmatch(name)
        if whole:
            replaced[f"{whole['module']}.{whole['leaf']}"] = shape
        elif marked and marked["module"] in _OUTSIDE:
            continue
        elif marked:
            parts.setdefault(marked["module"], {})[marked["part"]] = shape
        elif found is None:
            replaced[name] = shape
        elif found["module"]:
            module = f"{found['module']}.{found['old']}" if found["old"] else found["module"]
            parts.setdefault(module, {})[found["direction"]] = shape
        elif not name.endswith(".bias"):
            parts.setdefault(found["module2"], {})[found["part"]] = shape
    bank = next((shape for name, shape in layout.items() if name.rpartition(".")[2] == _BANK and len(shape) == 2), None)
    if bank is not None:
        parts = {
            n: {**tensors, _BANK: bank} if "vblora_logits_A" in tensors else tensors for n, tensors in parts.items()
        }
    modules = tuple(module_of(name, tensors) for name, tensors in parts.items() if tensors.keys() - {"alpha", "scale"})
    return AdapterStructure(_method(parts, replaced, layout, prompt), modules, replaced, prompt)


def module_of(name: str, tensors: Mapping[str, Shape], by_name: bool = False) -> AdaptedModule:
    """
    Args:
        name: of the module; tensors: part, such as `lora_A` -> its shape.
    """
    component, name, joined = _component(name)
    inputs = outputs = rank = divisor = None
    sides: tuple[int, ...] = ()
    broken = None
    halves = {_DOWN[part]: shape for part, shape in tensors.items() if part in _DOWN}
    a, b = halves.get("a") or tensors.get("lora_embedding_A"), halves.get("b") or tensors.get("lora_embedding_B")
    if a is not None or b is not None:
        if a is None or b is None or len(a) < 2 or len(b) < 2:
            broken = "one half of its product is missing"
        else:
            rank, inputs, outputs = a[0], a[1], b[0]
            middle = tensors.get("lora_mid")
            if b[1] != rank and middle is None:
                broken = f"its halves have ranks {rank} and {b[1]}"
            elif not 0 < rank <= LARGEST_RANK * min(inputs, outputs):
                broken = f"a rank of {rank} for a weight of {outputs} × {inputs}"
            if "lora_embedding_A" in tensors:
                inputs, outputs = outputs, inputs  # the weight is (rows, dim), and A works on rows
    elif "ia3_l" in tensors:
        first, last = (*tensors["ia3_l"], 1)[:2]
        outputs, inputs = (first, None) if last == 1 else (None, last)
    elif "hada_w1_a" in tensors and "hada_w1_b" in tensors:
        outputs, rank = (*tensors["hada_w1_a"], 0)[:2]
        inputs = (*tensors["hada_w1_b"], 0, 0)[1] if "hada_t1" not in tensors else None
    elif any(part.startswith("lokr_") for part in tensors):
        inputs, outputs = _of_kronecker(tensors)
    elif "vera_lambda_b" in tensors:
        outputs = tensors["vera_lambda_b"][0] if tensors["vera_lambda_b"] else None
    elif "oft_R" in tensors and len(tensors["oft_R"]) == 2:
        blocks, values = tensors["oft_R"]  # of each block, the upper half of a skew matrix
        side = (1 + isqrt(1 + 8 * values)) // 2
        inputs = blocks * side if blocks > 1 and side * (side - 1) // 2 == values else None
    elif "boft_s" in tensors:
        outputs = tensors["boft_s"][0] if tensors["boft_s"] else None
    elif _BANK in tensors:
        inputs, outputs, rank = _of_vector_bank(tensors)
    elif "hra_u" in tensors and len(tensors["hra_u"]) == 2:
        inputs, rank = tensors["hra_u"]
    else:
        inputs, outputs, rank = _of_marked(tensors) if not by_name else _of_unknown_halves(tensors)
        sides, divisor = _sides(tensors), _divisor(tensors)
    return AdaptedModule(
        component, name, joined, inputs, outputs, rank, broken, "adaption_prompt" in tensors, sides, divisor,
        _of_both_sides(tensors), _least_values(tensors), by_name,
    )  # fmt: skip


def _of_vector_bank(tensors: Mapping[str, Shape]) -> tuple[int | None, int | None, int | None]:
    """(inputs, outputs, rank) of VB-LoRA: A (rank, in / values of a vector, vectors), B (out / values, rank, vectors)."""
    values, first, last = tensors[_BANK][1], tensors["vblora_logits_A"], tensors.get("vblora_logits_B", ())
    if len(first) < 2 or len(last) < 2:
        return None, None, None
    return first[1] * values, last[0] * values, first[0]


def _of_marked(tensors: Mapping[str, Shape]) -> tuple[int | None, int | None, int | None]:
    """(inputs, outputs, rank) of a method in METHODS_BY_MARK, each None where it does not follow from the shapes."""
    inputs = outputs = rank = None
    for part, shape in tensors.items():
        of_inputs, of_outputs, of_rank = _SIZES.get(part, ((), (), None))
        if max((*of_inputs, *of_outputs, of_rank or 0)) >= len(shape):
            continue
        inputs = prod(shape[axis] for axis in of_inputs) if of_inputs else inputs
        outputs = prod(shape[axis] for axis in of_outputs) if of_outputs else outputs
        rank = shape[of_rank] if of_rank is not None else rank
    return inputs, outputs, rank


def _of_unknown_halves(tensors: Mapping[str, Shape]) -> tuple[int | None, int | None, int | None]:
    """The same of two halves with a rank in common, whatever the method is called: `…_A` (rank, in) and `…_B` (out, rank)."""
    first = [shape for part, shape in tensors.items() if part.removesuffix(".weight").endswith("_A")]
    last = [shape for part, shape in tensors.items() if part.removesuffix(".weight").endswith("_B")]
    if len(first) == len(last) == 1 and len(first[0]) == len(last[0]) == 2 and first[0][0] == last[0][1]:
        return first[0][1], last[0][0], first[0][0]
    return None, None, None


def _sides(tensors: Mapping[str, Shape]) -> tuple[int, ...]:
    """Sizes of which one is a side of the weight: MiSS in blocks has a square for as many outputs; RandLoRA a factor for each row of
    the smaller side; RoAd half as many angles as there are outputs, as many, or twice as many; FRoD a number for each value of one side;
    Shadow works on as many values as the model is wide."""
    for part, shape in tensors.items():
        if part in ("miss_block", "bone_block") and len(shape) == 3:
            return (shape[0] * shape[1],)
        if part == "randlora_gamma" and len(shape) == 2:
            return (shape[1],)
        if part == "frod_lambda_l" and len(shape) == 1:
            return (shape[0],)
        if part.startswith("shadow_down.") and len(shape) == 2:
            return (shape[1],)
        if part == "road_theta" and len(shape) == 1:
            return (2 * shape[0], shape[0], *((shape[0] // 2,) if shape[0] % 2 == 0 else ()))
    return ()


def _divisor(tensors: Mapping[str, Shape]) -> int | None:
    """MiSS has a column for each output, or repeats fewer columns until there are as many."""
    return next((s[1] for p, s in tensors.items() if p in ("miss_block", "bone_block") and len(s) == 2), None)


def _of_both_sides(tensors: Mapping[str, Shape]) -> int | None:
    """SHiRA changes as many single values as LoRA of its rank has: rank * (in + out)."""
    return next((prod(s) for p, s in tensors.items() if p == "shira_weight"), None)


def _least_values(tensors: Mapping[str, Shape]) -> int:
    """Each of these methods changes different values of the weight, its spectrum or its wavelets; PSOFT turns as many of its directions."""
    chosen = ("shira_weight", "supertuning_values", "fourierft_spectrum", "waveft_spectrum")
    single = [prod(shape) for part, shape in tensors.items() if part in chosen]
    turned = [prod(shape) ** 2 for part, shape in tensors.items() if part == "psoft_R.vector_a"]
    return max([*single, *turned], default=0)


def _of_kronecker(tensors: Mapping[str, Shape]) -> tuple[int | None, int | None]:
    """(inputs, outputs) of a Kronecker product."""
    sizes = []
    for place in ("1", "2"):
        whole, first, last = (tensors.get(f"lokr_w{place}{end}") for end in ("", "_a", "_b"))
        if whole is not None and len(whole) >= 2:
            sizes.append((whole[0], whole[1]))
        elif first is not None and last is not None and first and len(last) >= 2 and "lokr_t2" not in tensors:
            sizes.append((first[0], last[1]))
        else:
            return None, None
    return sizes[0][1] * sizes[1][1], sizes[0][0] * sizes[1][0]


def _component(name: str) -> tuple[str, str, bool]:
    """Part of a pipeline, the module's name within it, and whether that is joined."""
    joined = _COMPONENT_JOINED.match(name)
    if joined:
        called = joined[1]
        return _COMPONENT_NAMES.get(called, called), name[joined.end() :], True
    if name.startswith("lora_") and "." not in name:
        return "", name.removeprefix("lora_"), True
    found = _COMPONENT.match(name)
    return (found[1], name[found.end() :], False) if found else ("", name, False)


def _method(
    parts: Mapping[str, Mapping[str, Shape]],
    replaced: Mapping[str, Shape],
    layout: Mapping[str, Shape],
    prompt: tuple[int, int] | None,
) -> str:
    kinds = {part for tensors in parts.values() for part in tensors}
    known = (
        ("DoRA", {"lora_magnitude_vector", "dora_scale"}),
        ("AdaLoRA", {"lora_E"}),
        ("LoRA", {*_DOWN, "lora_embedding_A"}),
        ("IA3", {"ia3_l"}),
        ("LoHa", {"hada_w1_a"}),
        ("LoKr", {"lokr_w1", "lokr_w1_a", "lokr_w2", "lokr_w2_a"}),
        ("VeRA", {"vera_lambda_b"}),
        ("BOFT", {"boft_R", "boft_s"}),
        ("OFT", {"oft_R", "oft_r", "oft_blocks"}),
        ("HRA", {"hra_u"}),
        ("an adaption prompt", {"adaption_prompt"}),
        ("FourierFT", {"fourierft_spectrum"}),
        ("VB-LoRA", {"vblora_logits_A"}),
    )
    for method, marks in known:
        if marks & kinds:
            return method
    marks = {method for mark, method in METHODS_BY_MARK.items() if any(kind.startswith(f"{mark}_") for kind in kinds)}
    if len(marks) == 1:
        return marks.pop()
    if prompt is not None:
        return "a tuned prompt"
    if any("ln_tuning_layers" in name for name in layout):
        return "tuned norms"
    return "an unknown method"
