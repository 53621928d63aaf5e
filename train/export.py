"""A model -> a folder that open_clip loads with `local-dir:`, without a network.

In: a model and what it was made by. Out: FOLDER/ with
    open_clip_config.json           open_clip's model_cfg and preprocess_cfg, and a section on ours
    open_clip_model.safetensors     weights, under HLIP's names
    image/config.json               timm's arguments of the encoder, where it is no preset
    text/config.json, tokenizer.*   of a BERT
    README.md                       how to load it

open_clip finds the encoder where `train.clip` was imported. Two values of model_cfg name folders,
because open_clip and timm look nowhere else: they hold where FOLDER was written. Moved elsewhere,
or taken from the hub, it is loaded by `train.published`, which needs neither.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import train.torchvision_ops  # noqa: F401  (before open_clip)

# isort: split
from open_clip.tokenizer import HFTokenizer
from safetensors.torch import save_file

from shards.files import temporary_name
from study.errors import UserError
from study.runlog import version_of
from train.clip import CustomTextCLIP, Recipe, Tokenizer
from train.patches import PIXEL_MAX, PIXEL_MEAN, PIXEL_STD
from train.presets import ENCODERS, OUR_ENCODERS
from train.published import CONFIG, FORMAT, SECTION, TEXT_FOLDER, WEIGHT_FILES

IMAGE_FOLDER = "image"
PACKAGES = ("dicom2clip", "torch", "timm", "open_clip_torch", "transformers")
README = """\
# {name}

A study-level CLIP: all scans of a study and sentences of its report, in one space of {dim}
dimensions. Written by dicom2clip {version}.

```python
import open_clip
import train.clip  # of dicom2clip: makes the image encoder known

model = open_clip.create_model("local-dir:{folder}")
tokenizer = open_clip.get_tokenizer("local-dir:{folder}")
model.eval().encode_image(scans)  # uint8 [studies, scans, 1, {grid}]
```
In another place, or from the hub: `train.published.load_published(FOLDER or NAME)`.

How scans have to be prepared is under `{section}.preprocessing` in {config}.
"""


def export(
    recipe: Recipe,
    model: CustomTextCLIP,
    tokenizer: Tokenizer,
    folder: Path,
    *,
    preprocessing: Mapping[str, Any],
    about: Mapping[str, Any],
) -> Path:
    """Write the model into `folder`, which appears whole or not at all.

    `preprocessing` says how the scans were prepared, `about` anything else worth knowing (`prefix`
    of the texts, `step`). UserError where something is in the folder already.
    """
    folder = folder.expanduser().resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not empty: give a folder that is not there yet")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(folder)
    temporary.mkdir()
    try:
        _write(recipe, model, tokenizer, temporary, folder, preprocessing, about)
        if folder.exists():
            folder.rmdir()
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary)
        raise
    return folder


def _write(
    recipe: Recipe,
    model: CustomTextCLIP,
    tokenizer: Tokenizer,
    place: Path,
    folder: Path,
    preprocessing: Mapping[str, Any],
    about: Mapping[str, Any],
) -> None:
    """Into `place`, naming `folder`, where it will be."""
    weights = {
        name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()
    }
    save_file(weights, place / WEIGHT_FILES[0])
    model_cfg = {"custom_text": True} | dict(recipe.model_cfg)
    if recipe.encoder not in ENCODERS.values():
        (place / IMAGE_FOLDER).mkdir()
        _write_json(place / IMAGE_FOLDER / "config.json", _timm_config(recipe))
        here = {"timm_model_name": f"local-dir:{folder / IMAGE_FOLDER}"}
        model_cfg["vision_cfg"] = model_cfg["vision_cfg"] | here
    if "hf_model_name" in model_cfg["text_cfg"]:
        assert isinstance(tokenizer, HFTokenizer)
        model.text.config.save_pretrained(place / TEXT_FOLDER)
        tokenizer.save_pretrained(place)
        here = {"hf_model_name": str(folder / TEXT_FOLDER), "hf_tokenizer_name": str(folder)}
        model_cfg["text_cfg"] = model_cfg["text_cfg"] | here
    stored = {
        "stored_grid": list(recipe.encoder.img_size),
        "stored_dtype": "uint8",
        "divided_by": PIXEL_MAX,
        "mean": PIXEL_MEAN,
        "std": PIXEL_STD,
    }
    section = {
        "format": FORMAT,
        "name": recipe.name,
        "encoder": asdict(recipe.encoder),
        "preprocessing": stored | dict(preprocessing),
        **about,
        "versions": {package: version_of(package) for package in PACKAGES},
    }
    as_image = {"size": 224, "mode": "RGB", "mean": [PIXEL_MEAN] * 3, "std": [PIXEL_STD] * 3}
    config = {"model_cfg": model_cfg, "preprocess_cfg": as_image, SECTION: section}
    _write_json(place / CONFIG, config)
    grid = ", ".join(map(str, recipe.encoder.img_size))
    text = README.format(
        name=recipe.name,
        dim=model_cfg["embed_dim"],
        version=version_of("dicom2clip"),
        folder=folder,
        grid=grid,
        section=SECTION,
        config=CONFIG,
    )
    (place / "README.md").write_text(text, encoding="utf-8")


def _timm_config(recipe: Recipe) -> dict[str, Any]:
    """timm's config.json of a model: one of ours that is there under a name, and all that this one
    has otherwise."""
    base = next(iter(OUR_ENCODERS))
    return {"architecture": base, "pretrained_cfg": {}, "model_args": asdict(recipe.encoder)}


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
