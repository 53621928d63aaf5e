"""Published checkpoints in every layout, exports, and the way from one to the other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import made
import open_clip
import pytest
import torch
from made_bert import write_bert
from safetensors.torch import load_file, save_file
from torch import Tensor

from study.errors import UserError
from study.sections import Model
from train.clip import (
    CustomTextCLIP,
    Recipe,
    build,
    create_model,
    recipe_of,
    registered_name,
    tokenizer_of,
)
from train.export import export
from train.presets import ENCODERS
from train.published import load_published

PARITY = (
    Path(os.environ.get("DICOM2CLIP_REAL_DATA") or Path(__file__).parents[3] / "shared") / "parity"
)
SMALL = replace(
    ENCODERS["vit_base_scan_study_dualdinotxt1568"],
    img_size=(12, 32, 32),
    embed_dim=48,
    depth=6,
    num_heads=3,
    scan_blocks=(0, 1, 3, 4),
    study_blocks=(2, 5),
)
"""The published dual model, small."""
SCANS = (2, 3, 1, *SMALL.img_size)


def small_config(folder: Path) -> dict[str, Any]:
    """Its model_cfg as HLIP writes it. The encoder is registered as HLIP's code would do."""
    return {
        "embed_dim": 32,
        "init_logit_bias": 2.659260036932778,
        "vision_cfg": {
            "timm_model_name": registered_name("small_dual", SMALL),
            "timm_model_pretrained": True,
            "timm_drop_path": 0.2,
            "timm_pool": "token",
            "timm_proj": "linear",
        },
        "text_cfg": {
            "hf_model_name": str(folder),
            "hf_tokenizer_name": "some/repository",
            "hf_pooler_type": "cls_last_hidden_state_pooler",
            "hf_proj_type": "linear",
            "context_length": 32,
        },
    }


def first_layout(folder: Path, prefix: str = "") -> dict[str, Tensor]:
    """HLIP's first uploads: configuration, weights, tokenizer. The weights are returned."""
    write_bert(folder)
    config = small_config(folder)
    torch.manual_seed(3)
    weights: dict[str, Tensor] = build(Recipe("small_dual", SMALL, config)).state_dict()
    content = {"model_cfg": config, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    save_file({f"{prefix}{k}": v for k, v in weights.items()}, folder / "model.safetensors")
    return weights


def equal(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return list(found) == list(wanted) and all(torch.equal(found[k], wanted[k]) for k in wanted)


@torch.no_grad()
def features(clip: CustomTextCLIP, tokenizer: Any) -> tuple[Tensor, Tensor]:
    pixels = torch.arange(2 * 3 * 12 * 32 * 32, dtype=torch.float32).reshape(SCANS).sin()
    return clip.encode_image(pixels), clip.encode_text(tokenizer(["no mass", "old infarct left"]))


@pytest.mark.parametrize("prefix", ["", "module."])
def test_from_hlip_over_ours_to_open_clip_every_bit_stays(tmp_path: Path, prefix: str) -> None:
    weights = first_layout(tmp_path / "hlip", prefix)
    ours = load_published(str(tmp_path / "hlip"))
    assert equal(ours.model.state_dict(), weights)
    out = tmp_path / "out"
    export(ours.recipe, ours.model, ours.tokenizer(), out, preprocessing={}, about={})
    assert equal(load_file(out / "open_clip_model.safetensors"), dict(sorted(weights.items())))
    theirs = open_clip.create_model(f"local-dir:{out}").eval()
    assert equal(theirs.state_dict(), weights)
    tokenizer = open_clip.get_tokenizer(f"local-dir:{out}")
    for a, b in zip(
        features(ours.model, ours.tokenizer()), features(theirs, tokenizer), strict=True
    ):
        assert torch.equal(a, b)
    assert features(theirs, tokenizer)[0].shape == (2, 2, 32)
    moved = shutil.move(out, tmp_path / "moved")
    again = load_published(str(moved))
    assert equal(again.model.state_dict(), weights)
    assert torch.equal(features(again.model, again.tokenizer())[1], features(theirs, tokenizer)[1])


def test_an_export_is_loaded_by_another_process_without_a_network(tmp_path: Path) -> None:
    first_layout(tmp_path / "hlip")
    ours = load_published(str(tmp_path / "hlip"))
    out = export(
        ours.recipe, ours.model, ours.tokenizer(), tmp_path / "out", preprocessing={}, about={}
    )
    shutil.rmtree(tmp_path / "hlip")
    script = (
        "import torch, train.clip, open_clip\n"
        f"model, _, transform = open_clip.create_model_and_transforms('local-dir:{out}')\n"
        f"tokenizer = open_clip.get_tokenizer('local-dir:{out}')\n"
        "weights = open_clip.build_zero_shot_classifier(model, tokenizer, ['mass'], ['a {}'])\n"
        f"print(model.eval().encode_image(torch.zeros{SCANS}).shape, weights.shape, transform)\n"
    )
    env = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "nothing")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=env,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    assert "torch.Size([2, 2, 32]) torch.Size([32, 1])" in done.stdout
    assert "0.449" in done.stdout


@pytest.mark.parametrize("changes", [{}, {"max_num_scans": 4}])
def test_models_with_open_clips_text_tower_are_exported_too(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    model = made.MODEL if changes else Model(name="dicom2clip_tiny")
    grid = made.GRID if changes else (24, 48, 48)
    model = model.model_copy(update=changes)
    clip, tokenizer = create_model(model, grid)
    said = {"intensity": {"mr_percentiles": [0.5, 99.5]}}
    out = export(
        recipe_of(model, grid),
        clip,
        tokenizer,
        tmp_path / "out",
        preprocessing=said,
        about={"prefix": "This study shows: "},
    )
    theirs = open_clip.create_model(f"local-dir:{out}")
    assert equal(theirs.state_dict(), clip.state_dict())
    assert (out / "image").exists() == bool(changes)
    texts = ["a mass"]
    assert torch.equal(open_clip.get_tokenizer(f"local-dir:{out}")(texts), tokenizer(texts))
    again = load_published(str(out))
    assert again.recipe.encoder == clip.visual.trunk.config
    assert again.about["prefix"] == "This study shows: "
    assert again.about["preprocessing"]["stored_grid"] == list(grid)
    assert again.about["preprocessing"]["intensity"] == said["intensity"]
    with pytest.raises(UserError, match="is not empty"):
        export(again.recipe, clip, tokenizer, out, preprocessing={}, about={})


def big_weights(name: str) -> dict[str, Tensor]:
    """Of a published model, of the right shapes at no cost: a tensor is one number, seen often."""
    with torch.device("meta"):
        clip = open_clip.create_model(name, pretrained_text=False, device="meta")
    return {key: torch.zeros(()).expand(value.shape) for key, value in clip.state_dict().items()}


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("clip-vit_base-scan_study-dualdinotxt1568", "clip_vit_base_scan_study_dualdinotxt1568"),
        ("snapshots", "clip_vit_base_multiscan_h2_dinotxt1176"),
    ],
)
def test_the_second_layout_tells_its_model_by_its_name_or_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, name: str
) -> None:
    """Weights, and a config.json that says only a date."""
    folder = tmp_path / place
    folder.mkdir()
    (folder / "config.json").write_text('{"date": "2026-02-22"}')
    (folder / "pytorch_model.bin").touch()
    monkeypatch.setattr("train.published.read_weights", lambda file: big_weights(name))
    monkeypatch.setattr("train.published.build", lambda recipe: build(recipe, "meta"))
    with torch.device("meta"):
        found = load_published(str(folder))
    assert found.recipe.name == name
    assert found.weights == folder / "pytorch_model.bin"


@pytest.fixture
def training_file(tmp_path: Path) -> Path:
    """A checkpoint of HLIP's training, under DDP, of a model that only its name tells."""
    clip, _ = create_model(Model(name="dicom2clip_tiny"), (24, 48, 48))
    state = {f"module.{k}": v for k, v in clip.state_dict().items()}
    file = tmp_path / "dicom2clip_tiny.pt"
    torch.save({"epoch": 3, "name": "x", "state_dict": state, "optimizer": {}}, file)
    return file


def test_a_file_of_a_training_is_read(training_file: Path) -> None:
    found = load_published(str(training_file))
    assert found.recipe.name == "dicom2clip_tiny"
    assert not found.model.training
    other = training_file.rename(training_file.with_name("last.pt"))
    assert equal(load_published(str(other)).model.state_dict(), found.model.state_dict())
    with pytest.raises(UserError, match="there is no model 'dicom2clip_tony'"):
        load_published(str(other), model="dicom2clip_tony")
    with pytest.raises(UserError, match=r"missing.*blocks.3.*of another shape.*cls_token"):
        load_published(str(other), model="dicom2clip_small")


def test_a_name_on_the_hub_is_found_in_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = tmp_path / "models--someone--small-dual"
    weights = first_layout(entry / "snapshots" / ("1" * 40))
    (entry / "refs").mkdir()
    (entry / "refs" / "main").write_text("1" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    found = load_published("someone/small-dual")
    assert equal(found.model.state_dict(), weights)
    assert features(found.model, found.tokenizer())[1].shape == (2, 32)


def test_missing_and_unexpected_weights_are_listed(tmp_path: Path) -> None:
    weights = first_layout(tmp_path / "hlip")
    lost = [key for key in weights if "blocks.4." in key]
    damaged = {k: v for k, v in weights.items() if k not in lost} | {"visual.extra": torch.ones(1)}
    save_file(damaged, tmp_path / "hlip" / "model.safetensors")
    with pytest.raises(UserError) as error:
        load_published(str(tmp_path / "hlip"))
    assert all(key in str(error.value) for key in lost)
    assert f"{len(lost)} missing" in str(error.value)
    assert "1 unexpected: visual.extra" in str(error.value)


def test_a_table_of_positions_of_old_transformers_is_no_weight(tmp_path: Path) -> None:
    weights = first_layout(tmp_path / "hlip")
    more = {"text.transformer.embeddings.position_ids": torch.arange(64)[None]}
    more["logit_scale"] = weights["logit_scale"].reshape(1)
    save_file(weights | more, tmp_path / "hlip" / "model.safetensors")
    assert equal(load_published(str(tmp_path / "hlip")).model.state_dict(), weights)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("[", "is no configuration of open_clip"),
        ('{"model_cfg": {"embed_dim": 3}}', "is no configuration of open_clip.*text_cfg"),
        (
            '{"model_cfg": {"embed_dim": 3, "text_cfg": 1, "vision_cfg": {"timm_model_name": ""}}}',
            r"no encoder '' \(there are: dicom2clip_tiny",
        ),
        ('{"dicom2clip": {"format": 2}}', "use a newer dicom2clip"),
        ("{}", "does not say which model it is, and its weights fit none of ours: give the name"),
    ],
)
def test_configurations_that_tell_nothing_are_user_errors(
    tmp_path: Path, config: str, message: str
) -> None:
    first_layout(tmp_path / "hlip")
    (tmp_path / "hlip" / "open_clip_config.json").write_text(config)
    with pytest.raises(UserError, match=message):
        load_published(str(tmp_path / "hlip"))


def test_what_is_no_checkpoint_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no weights: none of open_clip_model"):
        load_published(str(tmp_path / "empty"))
    (tmp_path / "x.pt").write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be read as weights"):
        load_published(str(tmp_path / "x.pt"))
    torch.save([1, 2], tmp_path / "x.pt")
    with pytest.raises(UserError, match="holds no weights"):
        load_published(str(tmp_path / "x.pt"))
    with pytest.raises(UserError, match="there is no file"):
        load_published(str(tmp_path / "y.safetensors"))


@pytest.mark.skipif(
    not PARITY.is_dir(), reason=f"no parity files in {PARITY}; set DICOM2CLIP_REAL_DATA"
)
@pytest.mark.parametrize(
    "name",
    [
        "ablate_seqposemb_clip_vit_base_multiscan_h2_dualdinotxt1568",
        "clip_vit_base_multiscan_h2_token1176",
        "clip_vit_base_singlescan_h2_token2744",
    ],
)
def test_full_size_models_have_the_published_names_shapes_and_frozen_tables(name: str) -> None:
    reference = json.loads((PARITY / f"{name}_keys.json").read_text())
    with torch.device("meta"):
        clip = open_clip.create_model(name, pretrained_text=False, device="meta")
    ours = {
        key: [list(value.shape), str(value.dtype).removeprefix("torch.")]
        for key, value in clip.state_dict().items()
    }
    assert ours == reference["keys"]
    assert list(ours) == list(reference["keys"])
    frozen = [key for key, value in clip.named_parameters() if not value.requires_grad]
    assert frozen == reference["frozen"]


def test_the_tokenizer_is_not_taken_from_elsewhere_without_a_word(tmp_path: Path) -> None:
    first_layout(tmp_path / "hlip")
    for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        (tmp_path / "hlip" / file).unlink()
    found = load_published(str(tmp_path / "hlip"))
    with pytest.raises(UserError, match="some/repository"):
        found.tokenizer()
    with pytest.raises(UserError, match="some/repository"):
        tokenizer_of(found.recipe)
