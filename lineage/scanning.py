"""Every model under a folder, read and decided about without a store."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineage.graphdb.schema import Failure, NoSuchModel

if TYPE_CHECKING:
    from lineage.detect.methods.registry import Given
    from lineage.detect.report import Scan, Scanned
    from lineage.detect.sketch_store import Sketch
    from lineage.detect.subject import Options, Subject


SCAN_BUDGET_VALUES = 1 << 20  # reading from disk is cheap: models up to a million values are compared whole


def scan_folder(
    folder: Path,
    options: Options,
    device: str | None = None,
    track: Callable[[Iterable[Any]], Iterable[Any]] = lambda models: models,
    given: Given | None = None,
) -> Scan:
    """Reads and decides about every model under a folder.

    Args:
        track: wraps the models to be read, to show progress.
        given: what a method that looks beyond weights works with.
    Raises:
        NoSuchModel: there is no such folder, or no model in it.
        CannotTake: all models are of one architecture, and the method cannot work on them.
    """
    return scan_with_samples(folder, options, device, track, given)[0]


def scan_with_samples(
    folder: Path,
    options: Options,
    device: str | None = None,
    track: Callable[[Iterable[Any]], Iterable[Any]] = lambda models: models,
    given: Given | None = None,
) -> tuple[Scan, dict[str, Sketch]]:
    """The same, with the samples of the models by their ids, for what is shown beside the decisions."""
    from lineage.detect.align import pick_device
    from lineage.detect.methods.answers import decide_or_say
    from lineage.detect.methods.registry import decide_with
    from lineage.detect.report import Scan

    subjects, scanned, unreadable = read_folder(folder, track)
    decisions = []
    decide = decide_with if len(subjects) == 1 else decide_or_say
    for group in subjects.values():
        decisions += decide(options.method, group, options, pick_device(device), given)
    samples = {subject.id: subject.sketch for group in subjects.values() for subject in group}
    return Scan(scanned, decisions, unreadable), samples


def read_folder(
    folder: Path, track: Callable[[Iterable[Any]], Iterable[Any]] = lambda models: models
) -> tuple[dict[str, list[Subject]], list[Scanned], dict[str, str]]:
    """Every model under a folder.

    Returns:
        The subjects by signature, what was read, and id -> reason of what could not be read.
    Raises:
        NoSuchModel: there is no such folder, or no model in it.
    """
    from lineage.crawler.folder import local_models
    from lineage.crawler.open_model import locate_local
    from lineage.detect.report import Scanned
    from lineage.detect.sketch_store import make_sketch
    from lineage.detect.subject import Subject
    from lineage.reading import plan_of

    subjects: dict[str, list[Subject]] = {}
    scanned, unreadable = [], {}
    for model in track(list(local_models(folder))):
        if not model.files:
            unreadable[model.id] = model.reason or "no weight files"
            continue
        try:
            opened = locate_local(model)
            digest = str(opened.model.weights_digest)
            blocks = plan_of(opened.header, SCAN_BUDGET_VALUES)
            sketch = make_sketch(digest, opened.header, opened.read(blocks))
        except Failure as failure:
            unreadable[model.id] = failure.message
            continue
        scanned.append(Scanned(model.id, sketch.signature, digest))
        subjects.setdefault(sketch.signature, []).append(Subject(model.id, sketch, quantised=opened.model.quantised))
    if not scanned and not unreadable:
        raise NoSuchModel(f"no model under {folder}", "name a folder that holds .safetensors files")
    return subjects, scanned, unreadable
