"""Text towers of Hugging Face: from folders, from the hub's cache, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import made
import open_clip
import pytest
import torch
from made_bert import POSITIONS, VOCABULARY, WORDS, write_bert, write_cxr_bert
from rich.console import Console

from study.config import load_pipeline
from study.errors import UserError
from study.sections import Model
from train.checkpoint import load_model
from train.clip import create_model
from train.loop import train
from train.text import encode_text, padding_of, trim

# isort: split
from transformers import BertModel

TEXTS = ["There is a mass!", "no old infarct", "this study: left, right, left and right of it"]


def model_with(folder: Path | str, **changes: Any) -> Model:
    values = made.MODEL.model_dump() | dict.fromkeys(("text_width", "text_layers", "text_heads"))
    return Model(**(values | {"text_model": str(folder)} | changes))


@pytest.mark.parametrize("head", [False, True])
@torch.no_grad()
def test_a_bert_gives_the_features_that_transformers_gives(tmp_path: Path, head: bool) -> None:
    folder = write_bert(tmp_path / "bert", head=head)
    clip, tokenizer = create_model(model_with(folder), made.GRID)
    tokens = tokenizer(TEXTS)
    assert tokens.shape == (3, 32)
    reference = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    hidden = reference(input_ids=tokens, attention_mask=tokens.ne(0)).last_hidden_state
    features = clip.eval().encode_text(tokens)
    torch.testing.assert_close(features, clip.text.proj(hidden[:, 0]), atol=1e-6, rtol=0)
    assert not any("pooler" in name for name in clip.state_dict())


@torch.no_grad()
def test_short_texts_are_not_padded_to_the_full_context(tmp_path: Path) -> None:
    clip, tokenizer = create_model(model_with(write_bert(tmp_path / "bert")), made.GRID)
    clip.eval()
    padded = tokenizer(TEXTS)
    short = trim(padded, padding_of(tokenizer))
    assert short.shape[1] == int(padded.ne(0).sum(1).max()) < padded.shape[1]
    torch.testing.assert_close(
        encode_text(clip, short), clip.encode_text(padded), atol=1e-5, rtol=0
    )
    assert padding_of(open_clip.get_tokenizer("dicom2clip_tiny")) == 0


def test_the_towers_of_a_checkpoint_need_no_weights_of_the_bert(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "bert")
    (folder / "model.safetensors").unlink()
    clip, tokenizer = create_model(model_with(folder), made.GRID, load_text=False)
    assert clip.encode_text(tokenizer(["a mass"])).shape == (1, 16)
    with pytest.raises(UserError, match="has no weights"):
        create_model(model_with(folder), made.GRID)


@torch.no_grad()
def test_cxr_bert_is_read_without_its_code(tmp_path: Path) -> None:
    folder = write_cxr_bert(tmp_path / "cxr")
    clip, tokenizer = create_model(model_with(folder), made.GRID)
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    for name, value in clip.text.transformer.state_dict().items():
        assert torch.equal(value, state[f"bert.{name}"])
    assert tokenizer(["mass"])[0, :4].tolist() == [2, 5 + WORDS.index("mass"), 3, 0]
    tokenizer.save_pretrained(tmp_path / "saved")
    assert "auto_map" not in json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text())


def test_a_zero_shot_classifier_of_open_clip_works(tmp_path: Path) -> None:
    clip, tokenizer = create_model(model_with(write_bert(tmp_path / "bert")), made.GRID)
    weights = open_clip.build_zero_shot_classifier(
        clip.eval(), tokenizer, ["mass", "infarct"], ["There is a {}.", "This is {}."]
    )
    assert weights.shape == (16, 2)
    torch.testing.assert_close(weights.norm(dim=0), torch.ones(2))


def test_a_name_on_the_hub_is_found_in_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache as the hub's client lays it out, read without a network."""
    cache, commit = tmp_path / "cache", "0" * 40
    entry = cache / "models--some--bert"
    write_bert(entry / "snapshots" / commit)
    (entry / "refs").mkdir()
    (entry / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    clip, _ = create_model(model_with("some/bert"), made.GRID)
    assert clip.text.config.hidden_size == 48
    with pytest.raises(UserError, match="other/bert, and from the hub it cannot be had"):
        create_model(model_with("other/bert"), made.GRID)


def test_a_training_with_a_bert_is_saved_and_loaded(tmp_path: Path) -> None:
    made.dataset(tmp_path / "dataset", [made.study(n) for n in range(8)])
    model = model_with(write_bert(tmp_path / "bert"))
    pipeline = made.pipeline(tmp_path, steps=2, warmup_steps=1, model=model)
    result = train(pipeline, console=Console(quiet=True))
    loaded = load_model(result.checkpoint)
    first = BertModel.from_pretrained(tmp_path / "bert", add_pooling_layer=False)
    moved = [
        name
        for name, value in loaded.model.text.transformer.state_dict().items()
        if not torch.equal(value, first.state_dict()[name])
    ]
    assert "encoder.layer.0.attention.self.query.weight" in moved
    assert loaded.tokenizer(TEXTS).shape == (3, 32)


def test_folders_of_a_pipeline_are_meant_from_its_file(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "models" / "bert")
    file = tmp_path / "pipelines.yaml"
    file.write_text(
        "p:\n  description: x\n  dataset: d\n  run: r\n"
        "  train: {steps: 2, model: {text_model: models/bert}}\n"
    )
    assert load_pipeline(file, "p").train.model.text_model == str(folder)
    shutil.rmtree(folder)
    assert load_pipeline(file, "p").train.model.text_model == "models/bert"


def without(folder: Path, name: str) -> None:
    (folder / name).unlink()


def without_a_weight(folder: Path, _: str) -> None:
    model = BertModel.from_pretrained(folder)
    state = model.state_dict()
    state["encoder.layer.9.output.dense.bias"] = state.pop("encoder.layer.1.output.dense.bias")
    model.save_pretrained(folder, state_dict=state)


def with_setting(folder: Path, setting: str) -> None:
    name, value = setting.split("=")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {name: json.loads(value)}))


@pytest.mark.parametrize(
    ("damage", "what", "changes", "message"),
    [
        (None, "", {"text_model": "no_such_folder"}, "there is no folder no_such_folder"),
        (None, "", {"text_width": 32}, "text_width is of open_clip's text transformer"),
        (None, "", {"context_length": POSITIONS + 1}, r"context_length 65 .* 64 positions"),
        (without, "config.json", {}, "has no config.json"),
        (without, "tokenizer_config.json", {}, ""),
        (without_a_weight, "", {}, r"1 missing: encoder.layer.1.*1 unexpected: encoder.layer.9"),
        (with_setting, 'model_type="gpt2"', {}, "'gpt2', which is no text tower"),
        (
            with_setting,
            "vocab_size=20",
            {},
            f"knows {len(VOCABULARY)} tokens, the text tower only 20",
        ),
        (with_setting, "pad_token_id=3", {}, "pads with token 0, the text tower takes 3"),
    ],
)
def test_wrong_berts_are_user_errors(
    tmp_path: Path, damage: Any, what: str, changes: dict[str, Any], message: str
) -> None:
    folder = write_bert(tmp_path / "bert")
    if damage is not None:
        damage(folder, what)
    if not message:  # a tokenizer.json is enough
        create_model(model_with(folder, **changes), made.GRID)
        return
    with pytest.raises(UserError, match=message):
        create_model(model_with(folder, **changes), made.GRID)
