"""Published checkpoints -> models: HLIP's, from the hub, a folder or a file, and exports of ours.

In: a name on the hub, a folder, or a file of weights. Out: the model in evaluation mode, and what
it was made by. Every weight must be the model's and every weight of the model must be there.

Layouts: (1) open_clip_config.json with `model_cfg` beside the weights: HLIP's first uploads, and
train.export, which adds a section on itself; (2) weights and tokenizer alone, as HLIP uploads them
since 2026: the model is told by the name of the repository, folder or file, or by `model`; (3) a
file of HLIP's training. Weights may begin with `module.` in all of them. Vendored code is never
run.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from study.errors import UserError
from train.bert import check_vocabulary
from train.clip import (
    MODELS,
    CustomTextCLIP,
    Recipe,
    Tokenizer,
    build,
    recipe_named,
    registered_encoder,
    registered_name,
    tokenizer_of,
)
from train.hub import TOKENIZER_FILES, folder_with_weights
from train.presets import ENCODERS
from train.variant import EncoderConfig
from train.weights import misfit, read_weights

CONFIG = "open_clip_config.json"
SECTION = "dicom2clip"
"""Key of CONFIG under which an export says what it is."""
FORMAT = 1
"""Of that section; a reader refuses a higher one."""
TEXT_FOLDER = "text"
"""Sub-folder of an export with the configuration of its BERT."""
WEIGHT_FILES = (
    *("open_clip_model.safetensors", "model.safetensors"),
    *("open_clip_pytorch_model.bin", "pytorch_model.bin"),
)
"""The first that is there is read; the others hold the same."""
FILES = (CONFIG, "config.json", f"{TEXT_FOLDER}/config.json", *TOKENIZER_FILES)
NEEDED = (("embed_dim",), ("text_cfg",), ("vision_cfg", "timm_model_name"))
"""Keys of a model_cfg."""
SUFFIXES = (".pt", ".pth", ".bin", ".safetensors")
NO_WEIGHT = "text.transformer.embeddings.position_ids"
"""0, 1, 2, ..., which transformers saved before 4.31."""


@dataclass(frozen=True)
class Published:
    """A model that was trained elsewhere."""

    recipe: Recipe
    model: CustomTextCLIP
    """In evaluation mode."""
    weights: Path
    about: Mapping[str, Any]
    """What an export says of itself: `preprocessing`, `prefix`, ...; empty for others."""

    def tokenizer(self) -> Tokenizer:
        """UserError where it lies on the hub and cannot be had."""
        tokenizer = tokenizer_of(self.recipe)
        if "hf_model_name" in self.recipe.model_cfg["text_cfg"]:
            check_vocabulary(self.model.text, tokenizer)
        return tokenizer


def load_published(name: str, *, model: str | None = None) -> Published:
    """The model of a folder, a file, or a name on the hub (owner/name, with @revision if wanted).

    `model` is the name of the model, where the layout does not tell it. UserError where it is
    needed or unknown, and where weights are missing, unexpected or of another shape: all are
    listed.
    """
    if model is not None and model not in MODELS:
        raise UserError(f"there is no model {model!r} (there are: {', '.join(MODELS)})")
    folder, weights = _files(name)
    found = read_weights(weights)
    config = _config(folder)
    about = config.get(SECTION, {})
    if model is None and "model_cfg" in config:
        recipe = _told(folder, config["model_cfg"], about)
    else:
        recipe = recipe_named(model or _name_in((*Path(name).parts, weights.name), found, weights))
    recipe = _at_home(recipe, folder)
    clip = build(recipe)
    _load(clip, found, weights, recipe.name)
    return Published(recipe, clip.eval(), weights, about)


def _files(name: str) -> tuple[Path, Path]:
    """The folder of a model, and its file of weights."""
    path = Path(name).expanduser()
    if path.is_file() or path.suffix in SUFFIXES:
        return path.parent, path
    folder, weights = folder_with_weights(name, "model", FILES, WEIGHT_FILES)
    if weights is None:
        raise UserError(f"{folder} has no weights: none of {', '.join(WEIGHT_FILES)}")
    return folder, weights


def _config(folder: Path) -> dict[str, Any]:
    file = folder / CONFIG
    if not file.is_file():
        return {}
    try:
        config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        version = config.get(SECTION, {}).get("format", FORMAT)
        for path in NEEDED if "model_cfg" in config else ():
            reduce(operator.getitem, path, config["model_cfg"])
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{file} is no configuration of open_clip: {error!r}") from None
    if version > FORMAT:
        raise UserError(
            f"{file} has format {version}, this program reads {FORMAT}: use a newer dicom2clip"
        )
    return config


def _told(folder: Path, model_cfg: dict[str, Any], about: Mapping[str, Any]) -> Recipe:
    """Of a model_cfg. The encoder is that of an export's section, or one known to timm by name."""
    if about:
        fields: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in about["encoder"].items()
        }
        try:
            encoder = EncoderConfig(**fields)
        except (TypeError, ValueError) as error:
            raise UserError(f"{folder / CONFIG}: encoder: {error}") from None
        trunk = registered_name(about["name"], encoder)
        vision = model_cfg["vision_cfg"] | {"timm_model_name": trunk}
        return Recipe(about["name"], encoder, model_cfg | {"vision_cfg": vision})
    trunk = model_cfg["vision_cfg"]["timm_model_name"]
    known = registered_encoder(trunk)
    if known is None:
        raise UserError(
            f"{folder / CONFIG}: there is no encoder {trunk!r} (there are: {', '.join(ENCODERS)})"
        )
    return Recipe(trunk, known, model_cfg)


def _name_in(names: tuple[str, ...], found: Mapping[str, Tensor], weights: Path) -> str:
    """The model whose name is part of one of `names`, the last first, with - for _ and without
    clip_, as they occur: the longest. Else the one whose image encoder the weights fit."""
    for name in reversed(names):
        text = name.replace("-", "_")
        parts = [
            model for model in MODELS if model.replace("clip_", "") in text.replace("clip_", "")
        ]
        if parts:
            return max(parts, key=len)
    fitting = [name for name in MODELS if _fits(name, found)]
    if len(fitting) == 1:
        return fitting[0]
    which = f"its weights fit {', '.join(fitting)}" if fitting else "its weights fit none of ours"
    raise UserError(f"{weights} does not say which model it is, and {which}: give the name")


def _fits(name: str, found: Mapping[str, Tensor]) -> bool:
    """Whether the shapes that tell encoders apart are those of the model."""
    recipe = recipe_named(name)
    encoder, trunk = recipe.encoder, "visual.trunk."
    rows = found.get(f"{trunk}sequential_posemb", torch.empty(1, 0)).shape[1]
    registers = found.get(f"{trunk}reg_token", torch.empty(1, 0)).shape[1]
    patches = found.get(f"{trunk}patch_embed.proj.weight", torch.empty(0)).shape
    head = found.get("visual.head.proj.weight", torch.empty(0)).shape
    return (
        patches == (encoder.embed_dim, 1, *encoder.patch_size)
        and f"{trunk}blocks.{encoder.depth - 1}.norm1.weight" in found
        and f"{trunk}blocks.{encoder.depth}.norm1.weight" not in found
        and (registers, rows) == (encoder.reg_tokens, encoder.max_num_scans)
        and head == (recipe.model_cfg["embed_dim"], encoder.num_features)
        and ("text.proj.weight" in found) == ("hf_model_name" in recipe.model_cfg["text_cfg"])
    )


def _at_home(recipe: Recipe, folder: Path) -> Recipe:
    """With the BERT's configuration and tokenizer taken from the folder where they are in it."""
    text = recipe.model_cfg["text_cfg"]
    if "hf_model_name" not in text:
        return recipe
    here: dict[str, Any] = {}
    if any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
        here["hf_tokenizer_name"] = str(folder)
    for place in (folder / TEXT_FOLDER, folder):
        file = place / "config.json"
        if file.is_file() and "model_type" in json.loads(file.read_text(encoding="utf-8")):
            here["hf_model_name"] = str(place)
            break
    return Recipe(recipe.name, recipe.encoder, {**recipe.model_cfg, "text_cfg": text | here})


def _load(clip: CustomTextCLIP, found: dict[str, Tensor], file: Path, name: str) -> None:
    wanted = clip.state_dict()
    found = {key: value for key, value in found.items() if key != NO_WEIGHT}
    for key in ("logit_scale", "logit_bias"):  # one number, by some stored as [1]
        if key in found and key in wanted and found[key].numel() == 1:
            found[key] = found[key].reshape(wanted[key].shape)
    problem = misfit(wanted, found)
    if problem:
        raise UserError(f"{file} does not hold the weights of {name}: {problem}")
    clip.load_state_dict(found)
