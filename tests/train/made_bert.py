"""A BERT small enough for tests, written as Hugging Face writes one."""

from __future__ import annotations

import json
import string
from pathlib import Path

import torch

import train.torchvision_ops  # noqa: F401  (before transformers)

# isort: split
from transformers import BertConfig, BertForMaskedLM, BertModel, BertTokenizer

WORDS = ("there", "is", "no", "left", "right", "mass", "old", "infarct", "this", "study")
LETTERS = string.ascii_lowercase + string.punctuation
VOCABULARY = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *WORDS,
    *LETTERS,
    *(f"##{letter}" for letter in string.ascii_lowercase),
)
POSITIONS = 64
SIZES = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "max_position_embeddings": POSITIONS,
    "vocab_size": len(VOCABULARY),
}


def write_bert(folder: Path, *, head: bool = False, seed: int = 0) -> Path:
    """config.json, model.safetensors, tokenizer. With `head`, as published BERTs are: its weights
    under `bert.`, beside those of the head."""
    torch.manual_seed(seed)
    model = (BertForMaskedLM if head else BertModel)(BertConfig(**SIZES))
    model.save_pretrained(folder)
    words = folder / "vocab.txt"
    words.write_text("\n".join(VOCABULARY) + "\n")
    BertTokenizer(str(words)).save_pretrained(folder)
    return folder


def write_cxr_bert(folder: Path) -> Path:
    """The same in the layout of CXR-BERT: its own type of model and tokenizer, whose code is not
    here, a vocab.txt, and weights as a pickle."""
    torch.manual_seed(1)
    folder.mkdir()
    state = {f"bert.{k}": v for k, v in BertModel(BertConfig(**SIZES)).state_dict().items()}
    state["cls_projection_head.dense_to_hidden.weight"] = torch.zeros(4, 4)
    state["bert.embeddings.position_ids"] = torch.arange(POSITIONS)[None]
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    code = {"AutoTokenizer": ["configuration_cxrbert.CXRBertTokenizer", None]}
    tokenizer = {"tokenizer_class": "CXRBertTokenizer", "auto_map": code, "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    config = {
        "model_type": "cxr-bert",
        "architectures": ["CXRBertModel"],
        "auto_map": {"AutoConfig": "configuration_cxrbert.CXRBertConfig"},
        "projection_size": 4,
        **SIZES,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder
