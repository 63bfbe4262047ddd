"""The families: two bases an architecture, A for tuning and B for reporting, each with a star of children made in the ways of the Hub.

Everything is drawn from a generator seeded with the family's name. File names begin with four random digits, so that their order says
nothing.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from bench.hub_family.description import Family, Member, Merge, Recipe, Task, seed_of

HALVES = {"a": "tune", "b": "report"}
VOCABULARY = 1024
BASE_TEXTS = {"a": ("wiki-a", "python-topics", "sklearn-docs"), "b": ("shakespeare", "wiki-b", "python-docs")}
CHILD_TEXTS = {
    "a": ("shakespeare", "python-code", "numpy-docs", "torch-docs", "licences", "cpp-code", "networkx-docs", "wiki-b"),
    "b": (
        "python-code",
        "torch-code",
        "scipy-docs",
        "transformers-docs",
        "licences",
        "cpp-code",
        "networkx-docs",
        "wiki-a",
    ),
}
BASE_PICTURES = {"a": ("cifar",), "b": ("letters", "fashion")}
CHILD_PICTURES = {"a": ("mnist", "fashion", "letters", "omniglot"), "b": ("mnist", "omniglot", "cifar")}
BASE_STORAGE = {
    "llama-a": "bfloat16",
    "llama-b": "float32",
    "gpt2-b": "float16",
    "detector-a": "float16",
    "detector-b": "float16",
}
MIXED_STORAGE = ("bfloat16", "bfloat16", "float16", "float32")


def catalogue() -> list[Family]:
    """All families, in the order in which they are built."""
    order = ((_llama, _conv), (_bert, _lstm, _detector), (_vit, _gpt2, _resnet), (_merges, _vgg))
    return [make(half) for group in order for half in HALVES for make in group]


class _Star:
    """Collects the members of one family."""

    def __init__(self, architecture: str, half: str):
        self.name, self.architecture, self.half = f"{architecture}-{half}", architecture, half
        self.rng = random.Random(seed_of("hub family", self.name))
        self.members: list[Member] = []
        self.root = ""
        self.marks = self.rng.sample(range(4096), 400)

    def add(
        self,
        label: str,
        recipe: Recipe | Merge | None,
        parents: Sequence[str] = (),
        relation: str | None = None,
        storage: str = "float32",
        seed: int | None = None,
    ) -> str:
        """The name of the model, the last one of a run."""
        count = len(recipe.saves) if isinstance(recipe, Recipe) else 1
        names = tuple(f"{self.marks.pop():03x}-{label}" + (f"-{i + 1}" if count > 1 else "") for i in range(count))
        tree = self.root if parents else names[0]
        self.root = self.root or names[0]
        seed = seed_of(self.name, names[0]) if seed is None else seed
        self.members.append(Member(names, tuple(parents), relation, recipe, seed, storage, tree))
        return names[-1]

    def steps(self, least: int, most: int) -> tuple[int]:
        """Spread evenly over powers."""
        return (round(least * (most / least) ** self.rng.random()),)

    def rate(self, least: float, most: float) -> float:
        return float(f"{least * (most / least) ** self.rng.random():.1e}")

    def family(self) -> Family:
        texts = BASE_TEXTS[self.half] if self.architecture in ("llama", "llama-tied", "gpt2", "bert") else ()
        return Family(
            self.name, self.architecture, HALVES[self.half], tuple(self.members), texts, VOCABULARY if texts else 0
        )


def _language(architecture: str, half: str, rates: tuple[float, float]) -> Family:
    """A decoder: pretrained, then what is published of it."""
    star = _Star(architecture, half)
    rng = star.rng
    seed = seed_of(star.name, "start")
    own = Task("causal", BASE_TEXTS[half])
    others = CHILD_TEXTS[half]
    pretraining = Recipe(own, (2200,), 3e-3, 0.1, 12, schedule="cosine")
    base = star.add("base", pretraining, storage=BASE_STORAGE.get(star.name, "float32"), seed=seed)

    def text(*names: str, examples: int | None = None) -> Task:
        return Task("causal", names or (rng.choice(others),), examples=examples)

    def storage() -> str:
        return rng.choice(MIXED_STORAGE)

    def tuned(label: str, parent: str, recipe: Recipe, relation: str = "finetune", stored: str | None = None) -> str:
        return star.add(label, recipe, (parent,), relation, stored or storage())

    full = []
    for number in range(12):
        share = number / 11
        recipe = Recipe(
            text(examples=rng.choice((None, None, 200))),
            star.steps(60, 320),
            float(f"{rates[0] * (rates[1] / rates[0]) ** share:.1e}"),
            rng.choice((0.0, 0.0, 0.01, 0.1)),
            schedule=rng.choice(("linear", "cosine", "constant")),
        )
        full.append(tuned("full", base, recipe))
    for least_rate, steps in ((1e-6, 60), (1e-5, 8), (3e-6, 150)):
        tuned("hardly", base, Recipe(text(), (steps,), least_rate))
    for _ in range(2):
        recipe = Recipe(text(), star.steps(60, 200), star.rate(2e-5, 2e-4), weights_in="bfloat16")
        tuned("pure16", base, recipe, stored="bfloat16")
    adapted = [
        tuned(
            "lora",
            base,
            Recipe(text(), star.steps(60, 250), star.rate(1e-4, 2e-3), method="lora", rank=rng.choice((4, 8, 16))),
        )
        for _ in range(4)
    ]
    for parent, rate in ((full[5], 5e-7), (full[8], 2e-6), (adapted[0], 5e-6)):
        tuned("dpo", parent, Recipe(text(), star.steps(50, 110), rate, method="dpo", batch=4))
    for _ in range(2):
        tuned(
            "frozen-embeddings",
            base,
            Recipe(text(), star.steps(60, 200), star.rate(5e-5, 3e-4), method="embeddings-frozen"),
            "finetune-part-frozen",
        )
        tuned(
            "top",
            base,
            Recipe(text(), star.steps(60, 200), star.rate(5e-5, 5e-4), method="top-layers"),
            "finetune-part-frozen",
        )
    for more in (8, 64):
        tuned(
            f"vocabulary{more}",
            base,
            Recipe(text(), star.steps(60, 200), star.rate(3e-5, 3e-4), added_tokens=more),
            "finetune-backbone",
        )
    tuned(
        "pretrained-on",
        base,
        Recipe(text(*others[:2]), (100, 200, 300, 400), 3e-4, 0.1, 8, schedule="cosine"),
        "continued",
        rng.choice(("bfloat16", "float32")),
    )
    for parent in (full[4], full[9]):
        tuned("grandchild", parent, Recipe(text(), star.steps(60, 200), star.rate(2e-5, 2e-4), rng.choice((0.0, 0.1))))
    for parent in (full[7], full[11]):
        tuned("back", parent, Recipe(own, star.steps(60, 200), star.rate(5e-5, 3e-4), rng.choice((0.0, 0.1))))
    tuned("on-base-data", base, Recipe(own, star.steps(60, 200), star.rate(3e-5, 3e-4)))
    star.add("merge", None, (full[6], full[10]), "merge", "bfloat16")
    if BASE_STORAGE.get(star.name, "float32") == "float32":
        star.add("cast", None, (base,), "cast", "bfloat16")
    for number in range(2):
        other = replace(pretraining, task=text(*rng.sample(others, 2)), saves=(500,), batch=8)
        star.add(f"same-seed{number}", other, storage=rng.choice(("bfloat16", "float32")), seed=seed)
    return star.family()


def _llama(half: str) -> Family:
    return _language("llama", half, (1e-5, 3e-4))


def _gpt2(half: str) -> Family:
    return _language("gpt2", half, (1e-5, 5e-4))


def _merges(half: str) -> Family:
    """A small base, tunings of it, what mergekit makes of them, and tunings of the merges."""
    star = _Star("llama-tied", half)
    rng = star.rng
    others = CHILD_TEXTS[half]
    own = Task("causal", BASE_TEXTS[half])
    base = star.add("base", Recipe(own, (1800,), 4e-3, 0.1, 12, schedule="cosine"), storage="bfloat16")

    def recipe(rates: tuple[float, float]) -> Recipe:
        return Recipe(Task("causal", (rng.choice(others),)), star.steps(60, 250), star.rate(*rates))

    tuned = [star.add("full", recipe((3e-5, 6e-4)), (base,), "finetune", "bfloat16") for _ in range(8)]
    merged = []
    for method in ("linear", "slerp", "ties", "dare_ties", "task_arithmetic") * 2:
        parents = rng.sample(tuned, 2 if method == "slerp" else rng.choice((2, 2, 3)))
        made = Merge(method, base, {"slerp": rng.choice((0.3, 0.5))}.get(method, rng.choice((0.4, 0.5, 0.7))))
        merged.append(star.add(method.replace("_", "-"), made, parents, "merge", "bfloat16"))
    for parent in (merged[0], merged[2], merged[6]):
        star.add("tuned-merge", recipe((3e-5, 3e-4)), (parent,), "finetune", "bfloat16")
    return star.family()


def _bert(half: str) -> Family:
    """An encoder: masked language model on, classifiers of texts, labels of tokens."""
    star = _Star("bert", half)
    rng = star.rng
    seed = seed_of(star.name, "start")
    others = CHILD_TEXTS[half]
    own = Task("masked", BASE_TEXTS[half])
    pretraining = Recipe(own, (5000,), 1e-3, 0.01, 16, schedule="linear")
    base = star.add("base", pretraining, storage=BASE_STORAGE.get(star.name, "float32"), seed=seed)

    def masked() -> Task:
        return Task("masked", (rng.choice(others),))

    def classify() -> Task:
        labels = rng.choice((2, 2, 3, 4))
        return Task("classify", tuple(rng.sample(others, labels)), labels, rng.choice((None, 400)))

    def tuned(label: str, parent: str, recipe: Recipe, relation: str, stored: str | None = None) -> str:
        return star.add(
            label, recipe, (parent,), relation, stored or rng.choice(("float32", "float32", "float16", "bfloat16"))
        )

    def recipe(task: Task, rates: tuple[float, float] = (1e-5, 3e-4), **more: object) -> Recipe:
        decay = rng.choice((0.0, 0.01, 0.1))
        return replace(Recipe(task, star.steps(50, 260), star.rate(*rates), decay), **more)  # type: ignore[arg-type]

    on = [tuned("masked", base, recipe(masked(), (2e-5, 5e-4)), "finetune") for _ in range(7)]
    tuned("hardly", base, Recipe(masked(), (10,), 1e-5), "finetune")
    classifiers = [tuned("classifier", base, recipe(classify()), "finetune-backbone") for _ in range(8)]
    tuned("hardly-classifier", base, Recipe(classify(), (40,), 3e-6), "finetune-backbone")
    for _ in range(4):
        task = Task("tag", (rng.choice(others),), rng.choice((3, 5)))
        tuned("tagger", base, recipe(task), "finetune-backbone")
    for _ in range(2):
        tuned("lora", base, recipe(masked(), (2e-4, 2e-3), method="lora"), "finetune")
        tuned("top", base, recipe(classify(), (5e-5, 5e-4), method="top-layers"), "finetune-part-frozen")
    tuned("frozen-embeddings", base, recipe(masked(), (5e-5, 3e-4), method="embeddings-frozen"), "finetune-part-frozen")
    for parent in (on[1], on[4], on[6]):
        tuned("classifier-of-masked", parent, recipe(classify()), "finetune-backbone")
    tuned("grandchild", on[2], recipe(masked()), "finetune")
    tuned("back", on[3], recipe(own), "finetune")
    tuned("classifier-on", classifiers[0], recipe(classify()), "finetune-backbone")
    task = Task("masked", others[:2])
    tuned("pretrained-on", base, Recipe(task, (100, 200, 300, 400), 4e-4, 0.01), "continued", "float32")
    star.add("cast", None, (base,), "cast", "float16")
    for number in range(2):
        other = replace(pretraining, task=Task("masked", tuple(rng.sample(others, 2))), saves=(1200,))
        star.add(f"same-seed{number}", other, seed=seed)
    return star.family()


def _vision(architecture: str, half: str, steps: int) -> Family:
    """A picture classifier of transformers: other pictures, other labels, partly frozen."""
    star = _Star(architecture, half)
    rng = star.rng
    seed = seed_of(star.name, "start")
    own = Task("pictures", BASE_PICTURES[half], 10)
    pretraining = Recipe(own, (steps,), 1e-3, 0.05, 32, schedule="cosine")
    base = star.add("base", pretraining, storage="float32", seed=seed)

    def other(labels: int) -> Task:
        return Task("pictures", (rng.choice(CHILD_PICTURES[half]),), labels, rng.choice((None, None, 256)))

    def recipe(task: Task, rates: tuple[float, float], **more: object) -> Recipe:
        made = Recipe(task, star.steps(40, 260), star.rate(*rates), rng.choice((0.0, 0.01, 0.1)), 16)
        return replace(made, schedule=rng.choice(("linear", "cosine")), **more)  # type: ignore[arg-type]

    def tuned(label: str, parent: str, made: Recipe) -> str:
        frozen = made.method not in ("full", "lora")
        relation = "finetune-part-frozen" if frozen else "finetune" if made.task.labels == 10 else "finetune-backbone"
        return star.add(label, made, (parent,), relation, rng.choice(("float32", "float32", "float16", "bfloat16")))

    full = [tuned("full", base, recipe(other(10), (1e-5, 1e-3))) for _ in range(9)]
    heads = [tuned("head", base, recipe(other(rng.choice((2, 5, 7))), (1e-5, 1e-3))) for _ in range(7)]
    tuned("hardly", base, Recipe(other(10), (20,), 3e-6, batch=16))
    tuned("hardly-head", base, Recipe(other(5), (30,), 1e-5, batch=16))
    if architecture == "vit":
        tuned("lora", base, recipe(other(10), (3e-4, 3e-3), method="lora"))
    else:
        tuned("norms-stopped", base, recipe(other(10), (1e-4, 1e-3), stop_norm=True))
    for _ in range(2):
        tuned("top", base, recipe(other(10), (1e-4, 1e-3), method="top-layers"))
    tuned("grandchild", full[2], recipe(other(10), (3e-5, 3e-4)))
    tuned("grandchild-head", full[5], recipe(other(5), (3e-5, 3e-4)))
    tuned("grandchild-of-head", heads[1], recipe(other(5), (3e-5, 3e-4)))
    tuned("back", full[7], recipe(own, (5e-5, 3e-4)))
    tuned("on-base-data", base, recipe(own, (3e-5, 3e-4)))
    star.add("merge", None, (full[1], full[6]), "merge", "float32")
    for number in range(2):
        task = Task("pictures", (CHILD_PICTURES[half][number],), 10)
        star.add(f"same-seed{number}", replace(pretraining, task=task, saves=(steps // 3,), batch=16), seed=seed)
    return star.family()


def _vit(half: str) -> Family:
    return _vision("vit", half, 1600)


def _resnet(half: str) -> Family:
    return _vision("resnet", half, 1500)


def _large(
    architecture: str,
    half: str,
    count: int,
    pretraining: Recipe,
    tasks: Sequence[Task],
    rates: tuple[float, float],
    steps: tuple[int, int],
    storage: Sequence[str],
) -> Family:
    """A large star: learning rates spread evenly over powers, some so small that a child hardly moves, short and long."""
    star = _Star(architecture, half)
    rng = star.rng
    seed = seed_of(star.name, "start")
    base = star.add("base", pretraining, storage=BASE_STORAGE.get(star.name, "float32"), seed=seed)
    children = []
    order = list(range(count))
    rng.shuffle(order)
    for number in order:
        task = rng.choice(tasks)
        same = task.labels == pretraining.task.labels
        optimiser = rng.choice(("adam", "adamw", "sgd"))
        rate = rates[0] * (rates[1] / rates[0]) ** ((number + rng.random()) / count)
        recipe = Recipe(
            task,
            star.steps(*steps),
            float(f"{rate * (10 if optimiser == 'sgd' else 1):.1e}"),
            0.0 if optimiser == "adam" else rng.choice((0.0, 0.0, 0.01)),
            pretraining.batch // 2,
            optimiser,
            rng.choice(("constant", "cosine", "linear")),
            rng.choice(("full", "full", "full", "full", "top-layers")),
            stop_norm=rng.random() < 0.2,
        )
        relation = "finetune-part-frozen" if recipe.method != "full" else "finetune" if same else "finetune-backbone"
        children.append(star.add("child", recipe, (base,), relation, rng.choice(storage)))
    for parent in rng.sample(children, 3):
        recipe = Recipe(
            rng.choice([task for task in tasks if task.labels == pretraining.task.labels]),
            star.steps(*steps),
            star.rate(1e-4, 1e-3),
            batch=pretraining.batch // 2,
        )
        same = next(m for m in star.members if parent in m.names).recipe
        relation = (
            "finetune" if isinstance(same, Recipe) and same.task.labels == recipe.task.labels else "finetune-backbone"
        )
        star.add("grandchild", recipe, (parent,), relation, rng.choice(storage))
    other = replace(pretraining, task=rng.choice([t for t in tasks if t.labels == pretraining.task.labels]))
    star.add(
        "same-seed",
        replace(other, saves=(pretraining.steps // 3,), batch=pretraining.batch // 2),
        storage=storage[0],
        seed=seed,
    )
    return star.family()


def _conv(half: str) -> Family:
    own = Task("pictures", BASE_PICTURES[half], 10)
    tasks = [Task("pictures", (name,), 10) for name in CHILD_PICTURES[half]]
    pretraining = Recipe(own, (1800,), 2e-3, 0.01, 32, schedule="cosine")
    return _large("conv", half, 60, pretraining, [*tasks, own], (1e-6, 1e-2), (30, 400), ("float32",))


def _vgg(half: str) -> Family:
    own = Task("pictures", BASE_PICTURES[half], 10)
    tasks = [Task("pictures", (name,), 10) for name in CHILD_PICTURES[half]]
    pretraining = Recipe(own, (1800,), 2e-3, 0.01, 32, schedule="cosine")
    return _large("vgg", half, 150, pretraining, [*tasks, own], (1e-6, 3e-3), (20, 160), ("float32", "float16"))


def _lstm(half: str) -> Family:
    own = Task("characters", BASE_TEXTS[half])
    tasks = [Task("characters", (name,)) for name in CHILD_TEXTS[half]]
    pretraining = Recipe(own, (2200,), 4e-3, 0.0, 16, schedule="cosine")
    return _large(
        "lstm", half, 40, pretraining, [*tasks, own], (1e-6, 3e-3), (30, 300), ("float32", "float32", "float16")
    )


def _detector(half: str) -> Family:
    own = Task("detect", BASE_PICTURES[half], 10)
    tasks = [Task("detect", (name,), labels) for name in CHILD_PICTURES[half] for labels in (10, 10, 3)]
    pretraining = Recipe(own, (1500,), 2e-3, 0.01, 16, schedule="cosine")
    return _large("detector", half, 60, pretraining, [*tasks, own], (1e-6, 1e-2), (30, 250), ("float16",))
