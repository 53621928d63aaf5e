"""A run's state as one file, and back.

In: model, optimizer, how far the run is, and what it was made with. Out:
RUN/train/checkpoints/step-00000500.pt. The file appears whole or not at all: written under a
temporary name, fsynced, renamed. It holds nothing but tensors and plain values, so torch's safe
loader reads it.
"""

from __future__ import annotations

import os
import pickle
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from study.errors import UserError
from study.runlog import version_of
from study.sections import Train
from train.clip import CustomTextCLIP, Tokenizer, create_model
from train.variant import Grid

FORMAT = 1
"""Of the file; a reader refuses a higher one."""
NAME = re.compile(r"^step-(\d{8,})\.pt$")
TEMPORARY = ".writing"
PACKAGES = ("dicom2clip", "torch", "timm", "open_clip_torch")


@dataclass(frozen=True)
class Place:
    """Where a run stands."""

    step: int = 0
    """Optimizer steps done."""
    epoch: int = 0
    consumed: int = 0
    """Samples of the epoch that were taken."""
    seconds: float = 0.0
    """Spent training, over all sessions."""
    loss: float = float("nan")
    """Of the last step."""


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a file."""

    path: Path
    place: Place
    settings: dict[str, Any]
    """The `train` section, as plain values."""
    grid: Grid
    """(D, H, W) of the stored scans."""
    data: str
    """Fingerprint of the samples trained on."""
    versions: dict[str, str]
    model: dict[str, torch.Tensor]
    optimizer: dict[str, Any]


@dataclass(frozen=True)
class LoadedModel:
    """A trained model, ready to encode."""

    model: CustomTextCLIP
    """open_clip's, in evaluation mode."""
    tokenizer: Tokenizer
    settings: Train
    grid: Grid
    step: int


def folder_of(run: Path) -> Path:
    """Where the checkpoints of a run are."""
    return run / "train" / "checkpoints"


def save(
    run: Path,
    model: CustomTextCLIP,
    optimizer: torch.optim.Optimizer,
    place: Place,
    settings: Train,
    grid: Grid,
    data: str,
    keep: int,
) -> Path:
    """Write the checkpoint of `place`, then remove all but the newest `keep`."""
    folder = folder_of(run)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"step-{place.step:08d}.pt"
    temporary = target.with_suffix(TEMPORARY)
    content = {
        "format": FORMAT,
        "place": asdict(place),
        "settings": settings.model_dump(mode="json"),
        "grid": list(grid),
        "data": data,
        "versions": {package: version_of(package) for package in PACKAGES},
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    with temporary.open("wb") as stream:
        torch.save(content, stream)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.rename(target)
    _sync_folder(folder)
    for old in checkpoints(run)[:-keep]:
        old.unlink()
    return target


def checkpoints(run: Path) -> list[Path]:
    """Files of whole checkpoints, oldest first."""
    found = [path for path in folder_of(run).glob("step-*.pt") if NAME.match(path.name)]
    return sorted(found, key=lambda path: int(path.stem.removeprefix("step-")))


def newest_checkpoint(run: Path) -> Path:
    """UserError where the run has none."""
    found = checkpoints(run)
    if not found:
        raise UserError(
            f"{folder_of(run)} holds no checkpoint; train first, with `dicom2clip train PIPELINE`"
        )
    return found[-1]


def load(path: Path, device: str | torch.device = "cpu") -> Checkpoint:
    """Read a checkpoint. UserError where the file is none of ours."""
    try:
        content = torch.load(path, map_location=device, weights_only=True)
        if content["format"] > FORMAT:
            raise UserError(
                f"{path} has format {content['format']}, this program reads {FORMAT}: "
                "use a newer dicom2clip"
            )
        depth, height, width = content["grid"]
        return Checkpoint(
            path=path,
            place=Place(**content["place"]),
            settings=content["settings"],
            grid=(depth, height, width),
            data=content["data"],
            versions=content["versions"],
            model=content["model"],
            optimizer=content["optimizer"],
        )
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint {path}") from None
    except (RuntimeError, OSError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise UserError(f"{path} cannot be read as a checkpoint of dicom2clip: {error}") from None


def load_model(path: Path, device: str | torch.device = "cpu") -> LoadedModel:
    """The model of a checkpoint, without its optimizer. UserError as in `load`."""
    checkpoint = load(path, device)
    try:
        settings = Train.model_validate(checkpoint.settings)
    except ValidationError as error:
        raise UserError(
            f"{path} was written with settings that this version does not know: {error}"
        ) from None
    model, tokenizer = create_model(settings.model, checkpoint.grid, load_text=False)
    model.load_state_dict(checkpoint.model)
    return LoadedModel(
        model.to(device).eval(), tokenizer, settings, checkpoint.grid, checkpoint.place.step
    )


def _sync_folder(folder: Path) -> None:
    """Makes the rename itself durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
