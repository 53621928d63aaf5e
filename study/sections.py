"""What `pipelines.yaml` may say under `shards`, `train` and `eval`, every field with its meaning,
unit and effect.

In: the values of a section. Out: typed, checked settings. What only changes speed lives in the
`speed` part of its section. `ingest` is in `ingest_sections`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from study.quantities import Fraction, Positive, Size
from study.section import Section


class Shards(Section):
    """How samples lie on disk."""

    compression: Literal["none", "zstd"] = "none"
    """Of every array on its own: none (.npy) or one zstd frame (.npy.zst)."""
    studies_per_shard: Positive = 64
    """Studies planned into one shard. Aim at about 1 GB a shard."""


class Model(Section):
    """The two towers."""

    name: str = "dicom2clip_tiny"
    """A model of `train.presets`. The grid comes from the dataset; None below keeps what the name
    stands for."""
    patch: tuple[Positive, Positive, Positive] | None = None
    """(D, H, W) voxels of a patch; the stored grid must be divisible by it."""
    dim: Positive | None = None
    """Channels of the image encoder."""
    depth: Positive | None = None
    """Blocks of the image encoder; give the level of each block with it."""
    heads: Positive | None = None
    """Attention heads of the image encoder."""
    mlp_ratio: Annotated[float, Field(gt=0)] | None = None
    """Hidden channels of a block's MLP, as a multiple of `dim`."""
    pooling: Literal["token", "dinotxt"] | None = None
    """Features of a study: its CLS token, or that joined with the mean of all patch tokens."""
    slice_blocks: tuple[int, ...] | None = None
    """Indices of the blocks that attend within slices (patch-depth of slices each)."""
    scan_blocks: tuple[int, ...] | None = None
    """Indices of the blocks that attend within scans."""
    study_blocks: tuple[int, ...] | None = None
    """Indices of the blocks that attend over all scans of a study."""
    max_num_scans: Annotated[int, Field(ge=0)] | None = None
    """Rows of the table of scan positions; 0: scans have no position."""
    rope: bool | None = None
    """Whether attention turns queries and keys by the place of their patch in its scan (rotary
    positions)."""
    mae: str | None = None
    """First weights of the image encoder: a 2D MAE ViT of the same dim, depth and heads, as a .pth
    or .safetensors file or a name on the hub (timm/vit_base_patch16_224.mae), inflated to three
    dimensions. None: random ones."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share of rows that skip the last block in training; grows linearly from 0 at the first."""
    joint_dim: Positive | None = None
    """Channels of the features in which studies and texts are compared."""
    text_model: str | None = None
    """A BERT of Hugging Face as text tower, with its weights and its tokenizer: a folder, or a name
    on the hub (owner/name). None: open_clip's text transformer, or what the name stands for."""
    text_width: Positive | None = None
    """Channels of the text transformer."""
    text_layers: Positive | None = None
    """Blocks of the text transformer."""
    text_heads: Positive | None = None
    """Attention heads of the text transformer."""
    context_length: Positive | None = None
    """Tokens of a text at most; longer texts are cut."""


class TrainSpeed(Section):
    """What changes only how fast training goes."""

    loader_threads: Positive = 2
    """Threads that read scans into batch buffers."""
    prefetch: Positive = 2
    """Batches read ahead."""
    cache: str = ""
    """Folder that keeps what is read of a dataset at a URL; may be shared by runs and processes.
    Empty: RUN/cache."""
    cache_size: Size = "50GB"
    """Of that folder at most; 0GB keeps nothing."""
    log_every: str = "10 steps"
    """Cadence of the metrics line."""
    activation_checkpointing: bool = False
    """Blocks of the image encoder keep only their input, and run again in the backward pass: much
    less memory, about a third more time."""
    compile: bool = False
    """Compile the blocks of the image encoder (torch.compile): the first steps take minutes, the
    others less. Needs a C++ compiler."""


class Train(Section):
    """Shards -> checkpoints."""

    model: Model = Model()
    split: str = "train"
    """Split to train on."""
    batch_size: Positive = 64
    """Studies a step, over all processes."""
    scans_per_study: Positive = 8
    """At most so many scans of a study are seen in a step, chosen anew each epoch."""
    epochs: Positive | None = None
    """Passes over the split. Give epochs or steps."""
    steps: Positive | None = None
    """Optimizer steps. Give epochs or steps."""
    text: Literal["sentence", "report"] = "sentence"
    """What a study is matched with: one sentence drawn anew each epoch, or all of them in random
    order."""
    sentences_per_study: Positive = 1
    """With text: sentence, so many sentences of a study are matched in a step, each in a loss of
    its own; the step's loss is their mean. More signal for the same images: texts are cheap."""
    variant: str | Mapping[str, Annotated[float, Field(gt=0)]] = "offline"
    """Which summariser's sentences; or several with weights, {offline: 1, findings-gpt: 3}: a study
    then has those of one of them in a step, drawn anew each epoch among those that it has."""
    prefix: str = "This study shows: "
    """Put before the text, in training and in zero-shot prompts alike."""
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    """Peak, after the warm-up."""
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    """Steps of linear warm-up; cosine to zero after."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.2
    """Of matrices only: not of tokens, norms, biases and scales."""
    beta2: Fraction = 0.98
    """Second moment of AdamW."""
    grad_clip: Annotated[float, Field(ge=0)] = 1.0
    """Largest gradient norm; 0 does not clip."""
    patch_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of patches of every scan that a training step leaves out."""
    seed: int = 0
    """Of initial weights and of every drawn choice."""
    max_corrupt: Annotated[int, Field(ge=0)] = 0
    """So many studies with unreadable or wrong bytes are left out of their batches, each reported;
    one more stops the training. Counted anew when a training goes on."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the towers."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes CUDA where there is one."""
    checkpoint_every: str = "10 min"
    """Cadence: '500 steps', '30 min' or '1 epoch'. One is always written at the end."""
    keep_checkpoints: Positive = 2
    """Newest ones kept."""
    speed: TrainSpeed = TrainSpeed()

    @field_validator("variant")
    @classmethod
    def _some(cls, variant: str | Mapping[str, float]) -> str | Mapping[str, float]:
        if not variant:
            raise ValueError(
                "the name of a variant, or several with weights: {offline: 1, mine: 3}"
            )
        return variant

    @property
    def variants(self) -> dict[str, float]:
        """Weights of the summarisers whose sentences are taken."""
        return {self.variant: 1.0} if isinstance(self.variant, str) else dict(self.variant)

    @model_validator(mode="after")
    def _length(self) -> Train:
        if (self.epochs is None) == (self.steps is None):
            have = "both are set" if self.steps else "neither is set"
            raise ValueError(f"give either epochs or steps ({have}); null unsets an inherited one")
        return self


# -------------------------------------------------------------------------------- eval


class Eval(Section):
    """Checkpoint and shards -> scores."""

    benchmarks: tuple[str, ...] = ()
    """Names of files in eval/benchmarks, or paths of your own."""
    split: str = "test"
    """Split to score."""
    max_scans: Positive = 64
    """At most so many scans of a study are encoded, evenly chosen."""
    bootstrap: Annotated[int, Field(ge=0)] = 1000
    """Resamples, by patient, for the 95 % intervals; 0 gives none."""
    seed: int = 0
    """Of the resamples."""
    batch_size: Positive = 16
    """Studies encoded at once."""
