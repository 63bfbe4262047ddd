"""Small models that diffusers, timm, sentence-transformers and peft store, each loaded from a base by the library's own road.

Bases and changes are made as in derived_models.py. Of diffusers every class whose defaults can be made small, a second with other input
channels, a ControlNet of a U-Net; of timm its small test networks with other classes and as its trainer stores them; of
sentence-transformers modules behind one encoder, and its old files; of peft every kind of adapter, as an adapter, merged, and unmerged
with everything, as a trainer stores it.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from bench.derived_models import (
    FACTORS,
    FEW_VALUES,
    LEARNED,
    MOST_VALUES,
    MOVED,
    DerivedModel,
    Maker,
    moved,
    said,
    smaller,
)

Makers = Iterator[tuple[str, Maker]]


def libraries() -> Makers:
    """(name of a family, what stores it in a folder with a seed)."""
    yield from _diffusers()
    yield from _timm()
    for kind in ("bert", "distilbert", "mpnet", "xlm-roberta"):
        yield f"sentence-transformers-{kind}", _sentences(kind)
    for kind in ("bert", "llama", "gpt2", "t5", "vit"):
        yield f"peft-{kind}", _peft(kind)


def store(state: dict[str, torch.Tensor], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({n: t.detach().clone().contiguous() for n, t in state.items()}, folder / "model.safetensors")


def _tried(kind: str, called: str, base: str | None, make: Callable[[], Any]) -> DerivedModel:
    """What is true of a model that a function stores, or why it could not."""
    try:
        make()
    except Exception as error:
        return DerivedModel(called, kind, called, base, failed=said(error))
    return DerivedModel(called, kind, called, base)


def _diffusers() -> Makers:
    import diffusers.models as models
    from diffusers import ModelMixin

    for name in sorted(dir(models)):
        cls = getattr(models, name)
        if inspect.isclass(cls) and issubclass(cls, ModelMixin) and cls is not ModelMixin:
            yield f"diffusers-{name}", _of_diffusers(f"diffusers-{name}", cls)


def _of_diffusers(kind: str, cls: Any) -> Maker:
    def make(folder: Path, seed: int) -> Iterator[DerivedModel]:
        torch.manual_seed(seed)
        dice = torch.Generator().manual_seed(seed)
        settings = _small_settings(cls)
        if settings is None:
            yield DerivedModel("base", kind, cls.__name__, None, failed="no small configuration")
            return
        network = cls(**settings)
        moved(network, LEARNED, dice)
        shapes = {name: tensor.shape for name, tensor in network.named_parameters()}
        yield _tried(kind, "base", None, lambda: network.save_pretrained(folder / "base"))

        def tuned(name: str, load: Callable[[], Any]) -> DerivedModel:
            def run() -> None:
                child = load()
                _started_anew(child, shapes)
                moved(child, MOVED, dice)
                child.save_pretrained(folder / name)

            return _tried(kind, name, "base", run)

        yield tuned("tuned", lambda: cls.from_pretrained(folder / "base"))
        channels = settings.get("in_channels", getattr(network.config, "in_channels", None))
        if isinstance(channels, int):
            more = {"in_channels": 2 * channels + 1, "ignore_mismatched_sizes": True, "low_cpu_mem_usage": False}
            yield tuned("channels", lambda: cls.from_pretrained(folder / "base", **more))
        if cls.__name__ == "UNet2DConditionModel":
            from diffusers import ControlNetModel, UNetMotionModel

            yield tuned("ControlNetModel", lambda: ControlNetModel.from_unet(cls.from_pretrained(folder / "base")))
            yield tuned("UNetMotionModel", lambda: UNetMotionModel.from_unet2d(cls.from_pretrained(folder / "base")))

    return make


def _started_anew(child: torch.nn.Module, shapes: dict[str, torch.Size]) -> None:
    """A random start for tensors of another shape than the base's, which `ignore_mismatched_sizes` leaves without values."""
    with torch.no_grad():
        for name, tensor in child.named_parameters():
            if name in shapes and tensor.shape != shapes[name]:
                torch.nn.init.normal_(tensor, std=0.02)


def _small_settings(cls: Any) -> dict[str, Any] | None:
    """Defaults of a class, made small as a whole."""
    defaults = {
        name: p.default
        for name, p in inspect.signature(cls.__init__).parameters.items()
        if p.default is not inspect.Parameter.empty
    }
    best: tuple[int, dict[str, Any]] | None = None
    for factor in FACTORS:
        settings = {name: smaller(name, value, factor) for name, value in defaults.items()}
        settings = {name: value for name, value in settings.items() if value is not defaults[name]}
        try:
            with torch.device("meta"):
                count = sum(p.numel() for p in cls(**settings).parameters())
            cls(**settings) if count <= MOST_VALUES else None
        except Exception:
            continue
        if count and (best is None or count < best[0]):
            best = (count, settings)
        if count <= FEW_VALUES:
            break
    return best[1] if best is not None and best[0] <= MOST_VALUES else None


def _timm() -> Makers:
    import timm

    for name in timm.list_models("test_*"):
        yield f"timm-{name}", _of_timm(f"timm-{name}", name)


def _of_timm(kind: str, name: str) -> Maker:
    def make(folder: Path, seed: int) -> Iterator[DerivedModel]:
        import timm
        from timm.models import load_checkpoint, save_for_hf

        torch.manual_seed(seed)
        dice = torch.Generator().manual_seed(seed)
        network = timm.create_model(name, pretrained=False)
        moved(network, LEARNED, dice)
        yield _tried(kind, "base", None, lambda: save_for_hf(network, folder / "base", safe_serialization=True))

        def tuned(called: str, write: Callable[[Any, Path], Any], **more: Any) -> DerivedModel:
            def run() -> None:
                child = timm.create_model(name, pretrained=False, **more)
                load_checkpoint(child, str(folder / "base" / "model.safetensors"), strict=False)
                moved(child, MOVED, dice)
                write(child, folder / called)

            return _tried(kind, called, "base", run)

        def hub(child: Any, where: Path) -> None:
            save_for_hf(child, where, safe_serialization=True)

        def trained(child: Any, where: Path) -> None:
            where.mkdir()
            torch.save({"epoch": 3, "arch": name, "state_dict": child.state_dict()}, where / "model_best.pth.tar")

        yield tuned("tuned", hub)
        yield _tried(kind, "classes", "base", lambda: _other_classes(network, 7, dice, folder / "classes"))
        yield _tried(kind, "no-head", "base", lambda: _other_classes(network, 0, dice, folder / "no-head"))
        yield tuned("trainer", trained)

    return make


def _other_classes(base: Any, classes: int, dice: torch.Generator, where: Path) -> None:
    from timm.models import save_for_hf

    child = copy.deepcopy(base)
    child.reset_classifier(classes)
    moved(child, MOVED, dice)
    save_for_hf(child, where, safe_serialization=True)


def _small_transformer(kind: str, folder: Path, seed: int, dice: torch.Generator) -> Any:
    """A base as transformers stores it, of the class for this purpose; its class."""
    from bench.derived_models import classes_of, factors, small

    _, config_class, (cls, *_) = next(found for found in classes_of() if found[0] == kind)
    torch.manual_seed(seed)
    network = cls(small(config_class, factors(config_class, cls)[0]))
    moved(network, LEARNED, dice)
    network.save_pretrained(folder / "base")
    return cls


def _sentences(kind: str) -> Maker:
    name = f"sentence-transformers-{kind}"

    def make(folder: Path, seed: int) -> Iterator[DerivedModel]:
        from sentence_transformers import SentenceTransformer, models

        dice = torch.Generator().manual_seed(seed)
        cls = _small_transformer(kind, folder, seed, dice)
        yield DerivedModel("base", name, cls.__name__, None)
        words = _tokenizer(folder / "tokens")
        width = cls.from_pretrained(folder / "base").config.hidden_size
        behind: dict[str, Callable[[], list[Any]]] = {
            "pooling": lambda: [models.Pooling(width)],
            "dense": lambda: [models.Pooling(width), models.Dense(width, 16), models.Normalize()],
            "two-dense": lambda: [models.Pooling(width), models.Dense(width, width), models.Dense(width, width)],
            "norm": lambda: [models.Pooling(width), models.LayerNorm(width)],
        }

        def store_sentences(called: str, modules: list[Any]) -> None:
            encoder = models.Transformer(str(folder / "base"), tokenizer_args={"tokenizer_file": str(words)})
            whole = SentenceTransformer(modules=[encoder, *modules])
            moved(whole, MOVED, dice)
            whole.save(str(folder / called))

        for called, modules in behind.items():
            yield _tried(name, called, "base", lambda c=called, m=modules: store_sentences(c, m()))

        def old(called: str = "old") -> None:
            """As the library stored before version 2.3: the encoder in a folder of its own, as a pickle."""
            child = cls.from_pretrained(folder / "base")
            moved(child, MOVED, dice)
            child.save_pretrained(folder / called / "0_Transformer")
            state = child.state_dict()
            (folder / called / "0_Transformer" / "model.safetensors").unlink()
            torch.save(state, folder / called / "0_Transformer" / "pytorch_model.bin")
            (folder / called / "1_Pooling").mkdir()
            (folder / called / "modules.json").write_text("[]")

        yield _tried(name, "old", "base", old)

    return make


def _tokenizer(folder: Path) -> Path:
    """A word tokenizer, since a sentence encoder is stored with one."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    folder.mkdir(parents=True, exist_ok=True)
    Tokenizer(WordLevel({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]")).save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def _peft(kind: str) -> Maker:
    name = f"peft-{kind}"

    def make(folder: Path, seed: int) -> Iterator[DerivedModel]:
        import peft

        dice = torch.Generator().manual_seed(seed)
        cls = _small_transformer(kind, folder, seed, dice)
        yield DerivedModel("base", name, cls.__name__, None)
        settings = {
            "lora": lambda: peft.LoraConfig(r=4, target_modules="all-linear"),
            "dora": lambda: peft.LoraConfig(r=4, target_modules="all-linear", use_dora=True),
            "loha": lambda: peft.LoHaConfig(r=4, target_modules="all-linear"),
            "lokr": lambda: peft.LoKrConfig(r=4, target_modules="all-linear"),
            "oft": lambda: peft.OFTConfig(r=4, oft_block_size=0, target_modules="all-linear"),
            "boft": lambda: peft.BOFTConfig(boft_block_size=4, target_modules="all-linear"),
            "vera": lambda: peft.VeraConfig(r=8, target_modules="all-linear"),
        }
        for called, config in settings.items():
            for how, write in {"adapter": _adapter, "merged": _merged, "whole": _whole}.items():

                def run(called: str = called, config: Any = config, how: str = how, write: Any = write) -> None:
                    wrapped = peft.get_peft_model(cls.from_pretrained(folder / "base"), config())
                    _tune_adapters(wrapped, dice)
                    write(wrapped, folder / f"{called}-{how}")

                yield _tried(name, f"{called}-{how}", "base", run)

    return make


def _tune_adapters(wrapped: Any, dice: torch.Generator) -> None:
    with torch.no_grad():
        for tensor in wrapped.parameters():
            if tensor.requires_grad:
                tensor += 0.05 * torch.randn(tensor.shape, generator=dice)


def _adapter(wrapped: Any, where: Path) -> None:
    wrapped.save_pretrained(where)


def _merged(wrapped: Any, where: Path) -> None:
    wrapped.merge_and_unload().save_pretrained(where)


def _whole(wrapped: Any, where: Path) -> None:
    store(wrapped.state_dict(), where)
