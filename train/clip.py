"""The two towers: our encoders registered with timm and open_clip, and models made of them.

In: a model's name, with what `train.model` changes of it, and the (D, H, W) of the stored scans.
Out: an open_clip model and its tokenizer.
The one idea: open_clip builds everything. Importing this module registers the encoders of
`train.presets` with timm and the folder model_configs/ with open_clip, so that
`open_clip.create_model(name)` works; a variant is registered with timm under a name that ends in
its fingerprint, and handed to open_clip as an override.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import train.torchvision_ops  # noqa: F401  (before timm and open_clip)

# isort: split
import open_clip
import timm
from open_clip import CustomTextCLIP
from timm.models import register_model

from study.errors import UserError
from study.sections import Model
from train.hlip import encoder_from_hlip
from train.presets import ENCODERS
from train.variant import EncoderConfig, Grid
from train.vit import HierarchicalViT

__all__ = [
    "CustomTextCLIP",
    "Tokenizer",
    "create_model",
    "encoder_config",
    "encoder_from_hlip",
    "register",
]

MODEL_CONFIGS = Path(__file__).parent / "model_configs"

Tokenizer = Callable[..., Any]
"""open_clip's: a list of texts -> int64 [B, context length], padded."""

ENCODER_FIELDS = {
    "patch": "patch_size",
    "dim": "embed_dim",
    "depth": "depth",
    "heads": "num_heads",
    "mlp_ratio": "mlp_ratio",
    "pooling": "pooling",
    "slice_blocks": "slice_blocks",
    "scan_blocks": "scan_blocks",
    "study_blocks": "study_blocks",
    "max_num_scans": "max_num_scans",
    "drop_path": "drop_path_rate",
}
"""Keys of `train.model` -> fields of EncoderConfig."""

TEXT_FIELDS = {
    "text_width": "width",
    "text_layers": "layers",
    "text_heads": "heads",
    "context_length": "context_length",
}
"""Keys of `train.model` -> keys of open_clip's text_cfg."""


def register() -> None:
    """Make timm and open_clip know our models. Done on import; calling it again changes nothing."""
    for name, config in ENCODERS.items():
        _register_encoder(name, config)
    if not set(ENCODERS) <= set(open_clip.list_models()):
        open_clip.add_model_config(MODEL_CONFIGS)


def create_model(model: Model, grid: Grid) -> tuple[CustomTextCLIP, Tokenizer]:
    """An open_clip CustomTextCLIP with fresh weights (from torch's random state), and its
    tokenizer.

    `grid` is (D, H, W) of the stored scans. Raises UserError for an unknown name and for values
    that do not fit together.
    """
    if model.name not in ENCODERS:
        raise UserError(
            f"train.model.name: there is no model {model.name!r} "
            f"(there are: {', '.join(sorted(ENCODERS))})"
        )
    encoder = encoder_config(model, grid)
    config = open_clip.get_model_config(model.name)
    text = config["text_cfg"] | {TEXT_FIELDS[k]: v for k, v in _given(model, TEXT_FIELDS).items()}
    if text["width"] % text["heads"]:
        raise UserError(
            f"train.model: text_width {text['width']} is not divisible by "
            f"text_heads {text['heads']}"
        )
    facts = repr(sorted(asdict(encoder).items()))
    variant = f"{model.name}_{hashlib.sha256(facts.encode()).hexdigest()[:8]}"
    _register_encoder(variant, encoder)
    with _quiet():
        clip = open_clip.create_model(
            model.name,
            embed_dim=model.joint_dim or config["embed_dim"],
            vision_cfg=config["vision_cfg"] | {"timm_model_name": variant},
            text_cfg=text,
            pretrained_text=False,
            output_dict=True,
        )
    return clip, open_clip.get_tokenizer(model.name, context_length=text["context_length"])


def encoder_config(model: Model, grid: Grid) -> EncoderConfig:
    """The encoder that `train.model` asks for, on stored scans of (D, H, W) = grid."""
    changes = {ENCODER_FIELDS[k]: v for k, v in _given(model, ENCODER_FIELDS).items()}
    try:
        return replace(ENCODERS[model.name], img_size=grid, **changes)
    except ValueError as error:
        raise UserError(f"train.model ({model.name}): {error}") from None


def _given(model: Model, fields: dict[str, str]) -> dict[str, Any]:
    return {key: getattr(model, key) for key in fields if getattr(model, key) is not None}


@contextmanager
def _quiet() -> Iterator[None]:
    """open_clip warns on the root logger that no weights are loaded; none are wanted here."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _register_encoder(name: str, config: EncoderConfig) -> None:
    """With timm, whose registry takes functions by their name."""
    if timm.is_model(name):
        return

    def build(**kwargs: Any) -> HierarchicalViT:
        if kwargs.pop("pretrained", False):
            raise ValueError(
                f"{name} has no weights of its own to download; load a checkpoint instead"
            )
        if kwargs.pop("patch_drop_rate", 0):
            raise ValueError(
                "patch dropout is given with every batch (Studies.keep), not built into the model"
            )
        drop_path_rate = kwargs.pop("drop_path_rate", config.drop_path_rate)
        for key in ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"):
            kwargs.pop(key, None)
        return HierarchicalViT(replace(config, drop_path_rate=drop_path_rate, **kwargs))

    build.__name__ = name
    register_model(build)


register()
