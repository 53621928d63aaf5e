"""Lets torchvision load beside another build of torch. Import this before timm or open_clip.

In: nothing. Out: nothing; after the import of this module `import torchvision` works. torchvision's
compiled ops load only beside the very torch they were built for. Where they do not (its registry
build is made for CUDA, ours is the CPU build), the import of torchvision fails on the missing
schema `torchvision::nms`, although neither timm nor open_clip calls it here. The two schemas are
defined, without a kernel, only where they are absent. Can go when torchvision imports without its
ops (pytorch/vision, `_meta_registrations`).
"""

from __future__ import annotations

import contextlib
import importlib.util
from pathlib import Path

import torch

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def define_missing_ops() -> torch.library.Library | None:
    """Define the schemas unless torchvision's own ops load; the Library returned must be kept
    alive."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return None
    compiled = Path(spec.origin).parent / "_C.so"
    if compiled.exists():
        with contextlib.suppress(OSError):
            torch.ops.load_library(str(compiled))
    try:
        torch._C._get_schema("torchvision::nms", "")
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for schema in SCHEMAS:
            library.define(schema)
        return library
    return None


LIBRARY = define_missing_ops()
"""The definitions of this process, None where torchvision brought its own."""
