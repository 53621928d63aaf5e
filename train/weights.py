"""Files of weights, as they are published, and whether they are a model's.

In: .safetensors, .bin or .pt. Out: names -> tensors on the CPU. Weights may lie under `state_dict`
(training checkpoints of HLIP and open_clip), and every name may begin with `module.` (saved under
DDP). A pickle is read by torch's safe loader, which runs no code.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from study.errors import UserError

SHOWN_NAMES = 60
"""Of every kind that an error lists."""


def read_weights(file: Path) -> dict[str, Tensor]:
    """UserError where the file is none of weights."""
    content: Any
    try:
        if file.suffix == ".safetensors":
            content = load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"there is no file {file}") from None
    except (RuntimeError, OSError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        raise UserError(f"{file} cannot be read as weights: {error}") from None
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise UserError(
            f"{file} holds no weights: expected names and tensors, or these under `state_dict`"
        )
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def misfit(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """How the weights `found` differ from those `wanted`: missing and unexpected names, shapes.
    Empty where they do not."""
    shapes = [
        f"{name} is {tuple(found[name].shape)} instead of {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in found and found[name].shape != value.shape
    ]
    problems = {
        "missing": [name for name in wanted if name not in found],
        "unexpected": [name for name in found if name not in wanted],
        "of another shape": shapes,
    }
    return "; ".join(f"{len(p)} {what}: {_some(p)}" for what, p in problems.items() if p)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(names[:SHOWN_NAMES]) + more
