"""How families grow: stars, chains, deep trees, runs of checkpoints, series of one recipe, and twins of one start that are no family.

In: a Style. Out: the members, parents before children, under names that tell nothing.
"""

from __future__ import annotations

import random
from dataclasses import replace

from bench.zoo.description import Member, Recipe
from bench.zoo.recipes import Style
from bench.zoo.tasks import Task

SHAPES = ("star", "deep", "chain", "run", "series", "twins")
LONG_RUN = "long run"  # of families of their own


class Builder:
    """Grows a family member by member. Names are numbers in a shuffled order, so that they tell nothing."""

    def __init__(self, architecture: str, style: Style, dice: random.Random, *, has_stats: bool):
        self.architecture, self.style, self.dice, self.has_stats = architecture, style, dice, has_stats
        self.members: list[Member] = []
        self.base: dict[str, Task] = {}
        self.level: dict[str, int] = {}
        self.grown: set[str] = set()
        self.prefixes = ("", "", "module.") if dice.random() < 0.15 else ("",)

    def build(self, shape: str) -> tuple[Member, ...]:
        dice = self.dice
        match shape:
            case "star":
                self.star(self.root(), dice.choice((4, 6, 8, 12, 20, 30)))
                self.star(self.root(), dice.choice((3, 3, 5)))
            case "deep":
                self.tree(self.root(), dice.randint(10, 18), depth=dice.randint(3, 5))
                self.tree(self.root(), dice.randint(3, 6), depth=2)
            case "chain":
                self.chain(self.root(), dice.randint(3, 6))
                self.chain(self.root(), dice.randint(2, 4))
                self.star(self.root(), 3)
            case "run":
                self.run(dice.randint(5, 10) if self.style.patience == 1 else dice.randint(15, 26))
                self.star(self.root(), dice.randint(3, 6))
            case "series":  # one recipe for a whole star, as people publish them: only the task differs
                self.star(self.root(), dice.choice((5, 8, 12)), alike=True)
                self.tree(self.root(), 5, depth=3)
            case "long run":
                self.long_run(dice.randint(12, 27))
                self.long_run(dice.randint(3, 8))
            case _:  # "twins": starts of one seed that are no family; half of them differ in nothing but the data
                seed = dice.getrandbits(31)
                recipe = self.style.root() if dice.random() < 0.5 else None
                twins = [self.root(seed, recipe) for _ in range(dice.randint(3, 4))]
                self.star(twins[0], dice.randint(3, 6))
                self.chain(twins[1], 2)
        for _ in range(dice.randint(1, 3)):
            self.root()
        if shape not in ("twins", "run", LONG_RUN) and dice.random() < 0.4:
            self.root(self.members[0].seed)
        for _ in range(dice.choice((0, 1, 1, 2))):
            self.copy()
        if dice.random() < 0.35:
            self.merge()
        return self._named()

    def root(self, seed: int | None = None, recipe: Recipe | None = None) -> str:
        drawn = self.style.root()
        recipe = replace(recipe, task=drawn.task) if recipe else drawn
        return self._add((), None, recipe, self.dice.getrandbits(31) if seed is None else seed, 0, recipe.task)

    def child(self, parent: str, recipe: Recipe | None = None) -> str:
        recipe = recipe or self.style.child(self.base[parent])
        if parent in self.grown and recipe.head == "grow":
            recipe = replace(recipe, head="new")
        if not self.has_stats and recipe.frozen_stats:
            recipe = replace(recipe, frozen_stats=False)
        if self.architecture == "gpt" and recipe.head == "new":
            recipe = replace(recipe, head="keep", note="new task")  # its head is its embedding
        relation = "finetune" if recipe.head == "keep" else "finetune-backbone"
        if recipe.tune != "full":
            relation = "finetune-part-frozen"
        seed, level = self.dice.getrandbits(31), self.level[parent] + 1
        name = self._add((parent,), relation, recipe, seed, level, self.base[parent])
        if parent in self.grown or recipe.head == "grow":
            self.grown.update(self.members[-1].names)
        return name

    def star(self, root: str, count: int, *, alike: bool = False) -> None:
        recipe = replace(self.style.child(self.base[root]), tune="full", head="keep", note="series") if alike else None
        for _ in range(count):
            self.child(root, replace(recipe, task=self.style.task()) if recipe else None)

    def chain(self, root: str, count: int) -> None:
        for _ in range(count):
            root = self.child(root)

    def tree(self, root: str, count: int, depth: int) -> None:
        grown = [root]
        for _ in range(count):
            open_ = [name for name in grown if self.level[name] - self.level[root] < depth]
            grown.append(self.child(self.dice.choice(open_[-6:] if self.dice.random() < 0.6 else open_)))

    def run(self, count: int) -> None:
        """One long training saved again and again; some models tuned from its last file."""
        recipe = self.style.root()
        gap = max(10, recipe.saves[0] // (4 if self.style.patience == 1 else 16))
        saves = tuple(gap * (i + 1) for i in range(count))
        last = self._add((), None, replace(recipe, saves=saves, note="run"), self.dice.getrandbits(31), 0, recipe.task)
        for _ in range(self.dice.randint(0, 3)):
            self.child(last)

    def long_run(self, count: int) -> None:
        """One training from its first steps to its end, saved at equal or growing distances; some models tuned from its last file."""
        recipe = self.style.root()
        steps = recipe.saves[-1] * self.dice.choice((1, 1, 2))
        power = self.dice.choice((1, 1, 1.5, 2.5))
        saves = sorted({max(i + 1, round(steps * ((i + 1) / count) ** power)) for i in range(count)})
        recipe = replace(recipe, saves=tuple(saves), note="long run")
        last = self._add((), None, recipe, self.dice.getrandbits(31), 0, recipe.task)
        for _ in range(self.dice.choice((0, 0, 1, 2))):
            self.child(last)

    def copy(self) -> None:
        """The same file again; or, of a float32 one, its values in half precision or on 255 levels."""
        original = self.dice.choice([member for member in self.members if member.recipe])
        name = self.dice.choice(original.names)
        relation = self.dice.choice(("copy", "copy", "cast", "quantized")) if original.storage == "float32" else "copy"
        half = self.dice.choice(("float16", "bfloat16"))
        storage = {"copy": original.storage, "cast": half, "quantized": "float16"}[relation]
        self._add((name,), relation, None, 0, original.generation + 1, self.base[name], storage)

    def merge(self) -> None:
        """The mean of two siblings, if there are two of one shape."""
        tuned = [m for m in self.members if m.parents and m.recipe and m.recipe.head == "keep"]
        fitting = [m for m in tuned if m.names[0] not in self.grown]
        pairs = [(a, b) for i, a in enumerate(fitting) for b in fitting[i + 1 :] if a.parents == b.parents]
        if pairs:
            a, b = self.dice.choice(pairs)
            names = (a.names[0], b.names[0])
            self._add(names, "merge", None, 0, a.generation + 1, self.base[names[0]])

    def _add(
        self,
        parents: tuple[str, ...],
        relation: str | None,
        recipe: Recipe | None,
        seed: int,
        level: int,
        base: Task,
        storage: str | None = None,
    ) -> str:
        """Gives the name of the last file that the member leaves."""
        names = tuple(f"{len(self.members)}.{i}" for i in range(len(recipe.saves) if recipe else 1))
        stored = storage or self.style.stored()
        prefix = self.dice.choice(self.prefixes)
        self.members.append(Member(names, parents, relation, recipe, seed, stored, level, prefix))
        for name in names:
            self.base[name], self.level[name] = base, level
        return names[-1]

    def _named(self) -> tuple[Member, ...]:
        names = [name for member in self.members for name in member.names]
        numbers = list(range(len(names)))
        self.dice.shuffle(numbers)
        final = {name: f"m{number:02d}" for name, number in zip(names, numbers, strict=True)}
        return tuple(_renamed(member, final) for member in self.members)


def _renamed(member: Member, final: dict[str, str]) -> Member:
    return replace(member, names=tuple(final[n] for n in member.names), parents=tuple(final[p] for p in member.parents))
