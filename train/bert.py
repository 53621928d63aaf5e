"""Text towers that are BERTs of Hugging Face: BiomedBERT, CXR-BERT, any other.

In: a folder as `save_pretrained` writes it, or a name on the hub. Out: what open_clip's text_cfg
says of it, its weights in open_clip's HFTextEncoder, its tokenizer. The features are those of the
first token of the last layer, by a linear map into the joint space, as in HLIP.

open_clip asks the hub for the configuration even where all weights come from a checkpoint. Within
open_clip.hf_model the name AutoConfig is therefore ours: it answers for the two BERTs of HLIP's
models without a network, and reads CXR-BERT, whose own code would have to be run otherwise, as the
BERT that it is. Everything else goes on to transformers. Can go when open_clip takes a
configuration as values (open_clip 3.3.0, hf_model.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

import train.torchvision_ops  # noqa: F401  (before open_clip and transformers)

# isort: split
import open_clip.hf_model
from open_clip.hf_model import HFTextEncoder
from open_clip.tokenizer import HFTokenizer
from transformers import AutoConfig, BertConfig

from study.errors import UserError
from train.hub import TOKENIZER_FILES, folder_with_weights
from train.weights import misfit, read_weights

BIOMED_BERT = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext"
CXR_BERT = "microsoft/BiomedVLP-CXR-BERT-specialized"
SIZED_AS_BERT_BASE = (BIOMED_BERT, CXR_BERT)
"""Their configuration is the default of BertConfig: 12 layers of 768, 30,522 words."""
CXR_BERT_TYPE = "cxr-bert"
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
"""The first that is there is read."""
FILES = ("config.json", *TOKENIZER_FILES)
OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}


class _Configurations:
    """Stands in for transformers.AutoConfig within open_clip.hf_model."""

    @staticmethod
    def from_pretrained(name: str, **kwargs: Any) -> Any:
        if name in SIZED_AS_BERT_BASE:
            return BertConfig()
        file = Path(name) / "config.json"
        facts = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        if facts.get("model_type") == CXR_BERT_TYPE:
            known = BertConfig().to_dict().keys() - {"model_type"}
            return BertConfig(**{key: facts[key] for key in facts.keys() & known})
        return AutoConfig.from_pretrained(name, **kwargs)


open_clip.hf_model.AutoConfig = _Configurations


def bert_folder(name: str, key: str = "train.model.text_model") -> Path:
    """Where a BERT's files are. UserError where they are not, or are not a model's."""
    folder, _ = folder_with_weights(name, key, FILES, WEIGHT_FILES)
    if not (folder / "config.json").is_file():
        raise UserError(f"{key}: {folder} is not the folder of a BERT: it has no config.json")
    return folder


def bert_text_cfg(folder: Path, context_length: int) -> dict[str, Any]:
    """open_clip's text_cfg. UserError where the BERT has fewer positions, or is none."""
    try:
        config = _Configurations.from_pretrained(str(folder))
    except (ValueError, OSError, KeyError) as error:
        raise UserError(f"train.model.text_model: {folder / 'config.json'}: {error}") from None
    positions = getattr(config, "max_position_embeddings", None)
    if config.model_type not in open_clip.hf_model.arch_dict or positions is None:
        raise UserError(
            f"train.model.text_model: {folder} has a model of type {config.model_type!r}, which is "
            "no text tower of open_clip, or has no table of positions: give a BERT"
        )
    if context_length > positions:
        raise UserError(
            f"train.model.context_length {context_length} is more than the {positions} positions "
            f"of {folder}"
        )
    return {
        "hf_model_name": str(folder),
        "hf_tokenizer_name": str(folder),
        "hf_model_pretrained": False,
        "hf_pooler_type": "cls_last_hidden_state_pooler",
        "hf_proj_type": "linear",
        "context_length": context_length,
    }


def load_bert_weights(tower: HFTextEncoder, folder: Path) -> None:
    """The encoder's weights of the folder into the tower; its projection stays as it is.

    UserError where there are none, or where they are of another model.
    """
    file = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if file is None:
        raise UserError(
            f"train.model.text_model: {folder} has no weights ({' or '.join(WEIGHT_FILES)})"
        )
    bert: nn.Module = tower.transformer
    weights = _encoder_weights(read_weights(file), bert)
    problem = misfit(bert.state_dict(), weights)
    if problem:
        raise UserError(f"train.model.text_model: {file} is not of its config.json: {problem}")
    bert.load_state_dict(weights)


def _encoder_weights(state: Mapping[str, Tensor], bert: Any) -> dict[str, Tensor]:
    """Without the prefix that a model with a head puts before them, and without heads and
    poolers."""
    parts = {name for name, _ in bert.named_children()}
    weights = {}
    for key, value in state.items():
        key = key.removeprefix(f"{bert.base_model_prefix}.")
        for old, new in OLD_NAMES.items():
            key = key.replace(old, new)
        if key.split(".")[0] in parts and not key.endswith("position_ids"):
            weights[key] = value
    return weights


def bert_tokenizer(folder: Path, context_length: int) -> HFTokenizer:
    """open_clip's tokenizer of a folder. UserError where its files are not there."""
    kwargs = {"tokenizer_type": "bert"} if _is_cxr_bert(folder) else {}
    try:
        tokenizer = HFTokenizer(str(folder), context_length=context_length, **kwargs)
    except (ValueError, OSError, KeyError) as error:
        raise UserError(f"{folder} has no tokenizer that can be read: {error}") from None
    tokenizer.tokenizer.init_kwargs.pop("auto_map", None)  # names code that is not saved with it
    tokenizer([""])  # sets padding and length once: doing so while another thread encodes fails
    return tokenizer


def _is_cxr_bert(folder: Path) -> bool:
    file = folder / "config.json"
    return file.is_file() and (
        json.loads(file.read_text(encoding="utf-8")).get("model_type") == CXR_BERT_TYPE
    )


def check_vocabulary(tower: HFTextEncoder, tokenizer: HFTokenizer) -> None:
    """UserError where the tokenizer is not the model's: its tokens would mean other words."""
    words, rows = len(tokenizer.tokenizer), tower.config.vocab_size
    if words > rows:
        raise UserError(
            f"the tokenizer knows {words} tokens, the text tower only {rows}: take the tokenizer "
            "that the text tower was trained with"
        )
    pad = tokenizer.tokenizer.pad_token_id
    if pad != tower.config.pad_token_id:
        raise UserError(
            f"the tokenizer pads with token {pad}, the text tower takes "
            f"{tower.config.pad_token_id} for padding"
        )
