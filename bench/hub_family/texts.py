"""Texts that packages and data sets ship, and a tokenizer trained on them.

In: names of TEXTS. Out: the text as a string of at most MOST_CHARACTERS, or as tokens of a byte-level BPE vocabulary (Sennrich et al. 2016;
the `tokenizers` library). Docstrings are read with `ast`: nothing is imported or run.
"""

from __future__ import annotations

import ast
import importlib.util
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from bench import datasets

MOST_CHARACTERS = 500_000
SPECIAL = ("<pad>", "<mask>", "<s>", "</s>")
_SETS = {"shakespeare": "shakespeare", "wiki-a": "wiki-a", "wiki-b": "wiki-b"}
_DOCSTRINGS = {
    "numpy-docs": "numpy",
    "torch-docs": "torch",
    "scipy-docs": "scipy",
    "sklearn-docs": "sklearn",
    "networkx-docs": "networkx",
    "transformers-docs": "transformers",
}
TEXTS = (*_SETS, *_DOCSTRINGS, "python-topics", "python-code", "python-docs", "torch-code", "cpp-code", "licences")


@cache
def text(name: str) -> str:
    """One of TEXTS.

    Raises: KeyError: if the name is none of TEXTS. bench.datasets.DataMissing: if LINEAGE_DATASETS lacks the file.
    """
    if name in _SETS:
        tokens = datasets.from_environment().text(_SETS[name])
        return "".join(datasets.ALPHABET[i] for i in tokens.tolist())[:MOST_CHARACTERS]
    if name in _DOCSTRINGS:
        return _joined(_docstrings(_files(_package(_DOCSTRINGS[name]), "*.py")))
    standard = Path(sysconfig.get_paths()["stdlib"])
    if name == "python-topics":
        from pydoc_data.topics import topics

        return _joined(topics[key] for key in sorted(topics))
    if name == "python-code":
        return _joined(path.read_text(encoding="utf-8") for path in sorted(standard.glob("*.py")))
    if name == "python-docs":
        return _joined(_docstrings(sorted(standard.glob("*.py"))))
    if name == "torch-code":
        return _joined(path.read_text(encoding="utf-8") for path in _files(_package("torch") / "nn", "*.py"))
    if name == "cpp-code":
        return _joined(
            path.read_text(encoding="utf-8") for path in _files(_package("torch") / "include" / "ATen", "*.h")
        )
    if name == "licences":
        packages = _package("torch").parent
        return _joined(path.read_text(encoding="utf-8", errors="replace") for path in _files(packages, "LICENSE*"))
    raise KeyError(name)


def train_tokenizer(names: Iterable[str], size: int) -> Tokenizer:
    """A byte-level BPE tokenizer of exactly `size` tokens, the SPECIAL ones first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((text(name) for name in names), trainer)
    assert tokenizer.get_vocab_size() == size
    return tokenizer


def encode(tokenizer: Tokenizer, name: str) -> torch.Tensor:
    """(count,) int64 tokens of a whole text."""
    lines = text(name).splitlines(keepends=True)
    return torch.tensor([i for line in tokenizer.encode_batch(lines) for i in line.ids], dtype=torch.int64)


def token_labels(tokenizer: Tokenizer) -> torch.Tensor:
    """(vocabulary,) int64 a label a token: 0 other, 1 starts a word, 2 holds a capital, 3 holds a digit, 4 is punctuation."""
    labels = torch.zeros(tokenizer.get_vocab_size(), dtype=torch.int64)
    for piece, number in tokenizer.get_vocab().items():
        plain = piece.replace("Ġ", " ")
        if any(c.isdigit() for c in plain):
            labels[number] = 3
        elif any(c.isascii() and c.isupper() for c in plain):
            labels[number] = 2
        elif plain.strip() and not any(c.isalnum() for c in plain):
            labels[number] = 4
        elif plain.startswith(" "):
            labels[number] = 1
    return labels


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise datasets.DataMissing(f"package {name} is not installed", "pip install -e '.[hub-family]'")
    return Path(found.submodule_search_locations[0])


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.rglob(pattern) if path.is_file() and "test" not in path.as_posix())


def _docstrings(paths: Iterable[Path]) -> Iterator[str]:
    for path in paths:
        try:
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in nodes:
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                found = ast.get_docstring(node)
                if found and len(found) > 200:
                    yield found


def _joined(parts: Iterable[str]) -> str:
    kept, length = [], 0
    for part in parts:
        kept.append(part)
        length += len(part) + 1
        if length > MOST_CHARACTERS:
            break
    return "\n".join(kept)[:MOST_CHARACTERS]
