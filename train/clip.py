"""The two towers: our encoders registered with timm and open_clip, and models made of them.

In: a model's name, with what `train.model` changes of it, and the (D, H, W) of the stored scans.
Out: an open_clip model and its tokenizer.
The one idea: open_clip builds everything, from a `Recipe`. Importing this module registers the
encoders of `train.presets` with timm and the folder model_configs/ with open_clip, so that
`open_clip.create_model(name)` works; a variant is registered with timm under a name that ends in
its fingerprint, and handed to open_clip as an override.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
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
from train.bert import (
    bert_folder,
    bert_text_cfg,
    bert_tokenizer,
    check_vocabulary,
    load_bert_weights,
)
from train.hlip import encoder_from_hlip
from train.hub import TOKENIZER_FILES, folder_of
from train.presets import ENCODERS
from train.variant import EncoderConfig, Grid
from train.vit import HierarchicalViT

__all__ = [
    "CustomTextCLIP",
    "Recipe",
    "Tokenizer",
    "build",
    "create_model",
    "encoder_config",
    "encoder_from_hlip",
    "recipe_of",
    "register",
]

MODEL_CONFIGS = Path(__file__).parent / "model_configs"
MODELS = tuple(sorted(file.stem for file in MODEL_CONFIGS.glob("*.json")))
"""Names that `train.model.name` may have: HLIP's begin with clip_ or ablate_."""

ANY_OF_OURS = "dicom2clip_tiny"
"""What open_clip is asked for, with all that a recipe says in place of what it would take."""
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
    "rope": "rope",
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


@dataclass(frozen=True)
class Recipe:
    """A model of two towers, as values."""

    name: str
    """One of MODELS, of which this is a variant."""
    encoder: EncoderConfig
    model_cfg: Mapping[str, Any]
    """open_clip's, complete; its vision_cfg names `encoder` as it is registered with timm."""


def register() -> None:
    """Make timm and open_clip know our models. Done on import; calling it again changes nothing."""
    for name, config in ENCODERS.items():
        _register_encoder(name, config)
    if not set(MODELS) <= set(open_clip.list_models()):
        open_clip.add_model_config(MODEL_CONFIGS)


def create_model(
    model: Model, grid: Grid, *, load_text: bool = True
) -> tuple[CustomTextCLIP, Tokenizer]:
    """An open_clip CustomTextCLIP with fresh weights (from torch's random state), and its
    tokenizer. A BERT of `train.model.text_model`, or of the name, has its own weights; where all
    weights come from a checkpoint anyway, `load_text` leaves them.

    `grid` is (D, H, W) of the stored scans. Raises UserError for an unknown name and for values
    that do not fit together.
    """
    recipe = recipe_of(model, grid)
    text = recipe.model_cfg["text_cfg"]
    tokenizer = tokenizer_of(recipe)
    clip = build(recipe)
    if "hf_model_name" in text:
        check_vocabulary(clip.text, tokenizer)
        if load_text:
            load_bert_weights(clip.text, bert_folder(text["hf_model_name"]))
    return clip, tokenizer


def recipe_of(model: Model, grid: Grid) -> Recipe:
    """What `train.model` asks for, on stored scans of (D, H, W) = grid. UserError as in
    `create_model`."""
    if model.name not in MODELS:
        raise UserError(
            f"train.model.name: there is no model {model.name!r} (there are: {', '.join(MODELS)})"
        )
    config = open_clip.get_model_config(model.name)
    encoder = encoder_config(model, grid)
    text = _text_cfg(model, config["text_cfg"])
    vision = config["vision_cfg"] | {"timm_model_name": registered_name(model.name, encoder)}
    changes = {"embed_dim": model.joint_dim or config["embed_dim"]}
    return Recipe(model.name, encoder, config | changes | {"vision_cfg": vision, "text_cfg": text})


def recipe_named(name: str) -> Recipe:
    """What a name of MODELS stands for."""
    config = open_clip.get_model_config(name)
    return Recipe(name, ENCODERS[config["vision_cfg"]["timm_model_name"]], config)


def encoder_config(model: Model, grid: Grid) -> EncoderConfig:
    """The encoder that `train.model` asks for, on stored scans of (D, H, W) = grid."""
    changes = {ENCODER_FIELDS[k]: v for k, v in _given(model, ENCODER_FIELDS).items()}
    try:
        return replace(recipe_named(model.name).encoder, img_size=grid, **changes)
    except ValueError as error:
        raise UserError(f"train.model ({model.name}): {error}") from None


def build(recipe: Recipe, device: str = "cpu") -> CustomTextCLIP:
    """The model, with fresh weights in both towers."""
    config = {"init_logit_bias": None} | dict(recipe.model_cfg)
    config.pop("custom_text", None)  # it is, as of any of ours
    config["vision_cfg"] = config["vision_cfg"] | {"timm_model_pretrained": False}
    if "hf_model_name" in config["text_cfg"]:
        config["text_cfg"] = config["text_cfg"] | {"hf_model_pretrained": False}
    with _quiet():
        return open_clip.create_model(
            ANY_OF_OURS, **config, pretrained_text=False, output_dict=True, device=device
        )


def tokenizer_of(recipe: Recipe) -> Tokenizer:
    """By its own name: `open_clip.get_tokenizer` takes another one, without a word, for a name that
    it does not know."""
    text = recipe.model_cfg["text_cfg"]
    if "hf_tokenizer_name" not in text:
        return open_clip.get_tokenizer(ANY_OF_OURS, context_length=text["context_length"])
    folder = folder_of(
        text["hf_tokenizer_name"], "train.model.text_model", ("config.json", *TOKENIZER_FILES)
    )
    return bert_tokenizer(folder, text["context_length"])


def registered_name(name: str, encoder: EncoderConfig) -> str:
    """The encoder's name with timm, where it now is registered: that of a preset, or `name` with a
    fingerprint."""
    for known, config in ENCODERS.items():
        if config == encoder:
            return known
    facts = repr(sorted(asdict(encoder).items()))
    variant = f"{name}_{hashlib.sha256(facts.encode()).hexdigest()[:8]}"
    _register_encoder(variant, encoder)
    return variant


def registered_encoder(name: str) -> EncoderConfig | None:
    """The encoder that timm has under a name, if it is one of ours."""
    return (
        getattr(timm.models.model_entrypoint(name), "config", None) if timm.is_model(name) else None
    )


def _text_cfg(model: Model, preset: dict[str, Any]) -> dict[str, Any]:
    """open_clip's text_cfg, of `train.model` over that of a model's name."""
    changes = {TEXT_FIELDS[k]: v for k, v in _given(model, TEXT_FIELDS).items()}
    if model.text_model is not None or "hf_model_name" in preset:
        sizes = [key for key in _given(model, TEXT_FIELDS) if key != "context_length"]
        if sizes:
            raise UserError(
                f"train.model.{sizes[0]} is of open_clip's text transformer, but the text tower is "
                f"{model.text_model or preset['hf_model_name']}: set it to null"
            )
    if model.text_model is not None:
        length = model.context_length or preset["context_length"]
        return bert_text_cfg(bert_folder(model.text_model), length)
    text = preset | changes
    if "hf_model_name" not in text and text["width"] % text["heads"]:
        raise UserError(
            f"train.model: text_width {text['width']} is not divisible by "
            f"text_heads {text['heads']}"
        )
    return text


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

    def entry(**kwargs: Any) -> HierarchicalViT:
        if kwargs.pop("pretrained", False):
            raise ValueError(
                f"{name} has no weights of its own to download; load a checkpoint instead"
            )
        if kwargs.pop("patch_drop_rate", 0):
            raise ValueError(
                "patch dropout is given with every batch (Studies.keep), not built into the model"
            )
        for key in ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"):
            kwargs.pop(key, None)
        kwargs.pop("pretrained_model_args", None)  # timm's memory of a config.json's arguments
        fields: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in kwargs.items()
        }
        return HierarchicalViT(replace(config, **fields))

    entry.__name__ = name
    entry.config = config  # type: ignore[attr-defined]  # for `registered_encoder`
    register_model(entry)


register()
