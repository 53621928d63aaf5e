"""The two towers: registration with timm and open_clip, variants from the configuration."""

from __future__ import annotations

import warnings
from pathlib import Path

import made
import open_clip
import pytest
import timm
import torch

from study.config import load_pipeline, pipeline_names
from study.errors import UserError
from study.sections import Model
from train.clip import MODELS, create_model, encoder_config, register
from train.presets import ENCODERS
from train.text import encode_text, trim
from train.vit import HierarchicalViT, Studies


def test_open_clip_builds_every_preset_by_name() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register()
    assert all(timm.is_model(name) for name in ENCODERS)
    assert set(MODELS) <= set(open_clip.list_models())
    with torch.device("meta"):
        for name in MODELS:
            model = open_clip.create_model(name, pretrained_text=False, device="meta")
            assert model.visual.trunk.config in ENCODERS.values()
    model = open_clip.create_model("dicom2clip_tiny", pretrained_text=False)
    assert isinstance(model.visual.trunk, HierarchicalViT)
    assert sum(p.numel() for p in model.visual.trunk.parameters()) < 1_000_000
    features = model.encode_image(torch.zeros(2, 3, 1, 24, 48, 48), normalize=True)
    assert features.shape == (2, 64)
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(2))


def test_zero_shot_classifier_of_open_clip_works() -> None:
    model, tokenizer = create_model(made.MODEL, made.GRID)
    weights = open_clip.build_zero_shot_classifier(
        model, tokenizer, ["mass", "infarct"], ["There is a {}.", "This is {}."]
    )
    assert weights.shape == (16, 2)


def test_the_configuration_changes_the_model() -> None:
    torch.manual_seed(0)
    model, tokenizer = create_model(made.MODEL, made.GRID)
    trunk = model.visual.trunk
    assert trunk.config.img_size == made.GRID
    assert trunk.config.patch_size == (4, 16, 16)
    assert len(trunk.blocks) == 3
    assert model.text.width == 32
    assert tokenizer(["a"]).shape == (1, 32)
    pixels = torch.zeros(3, 1, *made.GRID, dtype=torch.uint8)
    assert model.encode_image(Studies(pixels, (1, 2))).shape == (2, 16)


def test_first_weights_are_a_function_of_the_random_state() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(create_model(made.MODEL, made.GRID)[0].state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@torch.no_grad()
def test_text_without_padding_gives_the_features_of_padded_text() -> None:
    model, tokenizer = create_model(made.MODEL, made.GRID)
    padded = tokenizer(["a mass!", "there is no midline shift, nothing else"])
    short = trim(padded)
    assert short.shape[1] < padded.shape[1]
    ours = encode_text(model, short)
    torch.testing.assert_close(ours, model.encode_text(padded), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "no_such_model"}, r"no model 'no_such_model' \(there are: ablate_mlp_clip"),
        ({"patch": (5, 16, 16)}, "not divisible"),
        ({"depth": 4}, "exactly one level"),
        ({"text_heads": 5}, "text_heads 5"),
    ],
)
def test_wrong_models_are_user_errors(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        create_model(Model(**{**made.MODEL.model_dump(), **change}), made.GRID)


def test_models_of_all_pipelines_fit_their_grids() -> None:
    """What would only fail after days of ingestion is found here."""
    file = Path(__file__).resolve().parents[2] / "pipelines.yaml"
    for name in pipeline_names(file):
        pipeline = load_pipeline(file, name)
        grid = pipeline.ingest.grid
        encoder_config(pipeline.train.model, (grid.depth, grid.size, grid.size))
