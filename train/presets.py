"""The encoders that have a name. Each is registered with timm under it; model_configs/ holds the
two-tower models that open_clip makes of them.

In: nothing. Out: `ENCODERS`: our own, and the published ones under the names that HLIP's code gives
them (h2: two levels, h3: three; the number is that of tokens a scan). A variant of one of them is a
matter of `train.model` in pipelines.yaml, not of a new name.
"""

from __future__ import annotations

from dataclasses import replace

from train.variant import EncoderConfig

HEAD_GRID = (48, 224, 224)
"""(D, H, W) of a stored scan of a head."""
CHEST_GRID = (112, 336, 336)
"""Of a chest, at 3 x 1 x 1 mm."""

_BASE = EncoderConfig(
    img_size=HEAD_GRID,
    patch_size=(8, 16, 16),
    embed_dim=768,
    depth=12,
    num_heads=12,
    scan_blocks=(0, 1, 3, 4, 6, 7, 9, 10),
    study_blocks=(2, 5, 8, 11),
    drop_path_rate=0.2,
)
_BASE_3_LEVELS = replace(
    _BASE, slice_blocks=(0, 3, 6, 9), scan_blocks=(1, 4, 7, 10), study_blocks=(2, 5, 8, 11)
)
_LARGE = replace(
    _BASE,
    embed_dim=1024,
    depth=24,
    num_heads=16,
    scan_blocks=tuple(block for block in range(24) if block % 6 != 5),
    study_blocks=(5, 11, 17, 23),
)
_LARGE_3_LEVELS = replace(
    _LARGE,
    slice_blocks=tuple(block for block in range(24) if block % 6 < 4),
    scan_blocks=(4, 10, 16, 22),
    study_blocks=(5, 11, 17, 23),
)
_CHEST = replace(
    _BASE,
    img_size=CHEST_GRID,
    patch_size=(8, 24, 24),
    slice_blocks=(0, 1, 3, 4, 6, 7, 9, 10),
    scan_blocks=(2, 5, 8, 11),
    study_blocks=(),
)


def _with_positions(config: EncoderConfig) -> EncoderConfig:
    """Scans in order, as in the models of the paper; later ones have no position of a scan."""
    return replace(config, max_num_scans=40)


def _dinotxt(config: EncoderConfig) -> EncoderConfig:
    return replace(config, pooling="dinotxt")


def _fine(config: EncoderConfig) -> EncoderConfig:
    """1,568 tokens of a head's scan."""
    return replace(config, patch_size=(6, 16, 16))


def _dual(config: EncoderConfig) -> EncoderConfig:
    """Two pooled tokens: one for a sentence, one for the whole report."""
    return replace(_dinotxt(config), reg_tokens=1)


OUR_ENCODERS: dict[str, EncoderConfig] = {
    "dicom2clip_tiny": EncoderConfig(
        img_size=(24, 48, 48),
        patch_size=(8, 12, 12),
        embed_dim=96,
        depth=3,
        num_heads=3,
        mlp_ratio=2.0,
        scan_blocks=(0, 1),
        study_blocks=(2,),
        pooling="dinotxt",
    ),
    "dicom2clip_small": EncoderConfig(
        img_size=HEAD_GRID,
        patch_size=(8, 16, 16),
        embed_dim=192,
        depth=6,
        num_heads=3,
        scan_blocks=(0, 1, 3, 4),
        study_blocks=(2, 5),
    ),
    "hlip_vit_base_scan_study": _fine(_BASE),
    "dicom2clip_base": _dinotxt(_fine(_BASE)),
    "dicom2clip_base_slices": _dinotxt(_fine(_BASE_3_LEVELS)),
    "dicom2clip_large": _dinotxt(_fine(_LARGE)),
    "dicom2clip_large_slices": _dinotxt(_fine(_LARGE_3_LEVELS)),
    "dicom2clip_base_chest": _dinotxt(_CHEST),
}
"""Ours. Their models in model_configs/ have open_clip's text transformer, whose vocabulary it
brings along, unless `train.model.text_model` names another."""

HLIP_ENCODERS: dict[str, EncoderConfig] = {
    # As the code of the paper names them; their images come out as one token.
    "vit_base_singlescan_h2_token2744": _CHEST,
    "vit_base_multiscan_h2_token588": replace(_with_positions(_BASE), patch_size=(16, 16, 16)),
    "vit_base_multiscan_h2_token1176": _with_positions(_BASE),
    "vit_base_multiscan_h3_token1176": _with_positions(_BASE_3_LEVELS),
    "vit_base_multiscan_h2_token1568": _with_positions(_fine(_BASE)),
    "vit_base_multiscan_h2_dinotxt1176": _dinotxt(_with_positions(_BASE)),
    "vit_base_multiscan_h2_dinotxt1568": _dinotxt(_with_positions(_fine(_BASE))),
    "ablate_seqposemb_vit_base_multiscan_h2_dinotxt1568": _dinotxt(_fine(_BASE)),
    "ablate_rope_vit_base_multiscan_h2_dinotxt1568": replace(_dinotxt(_fine(_BASE)), rope=True),
    "ablate_seqposemb_vit_base_multiscan_h2_dualdinotxt1568": _dual(_fine(_BASE)),
    "ablate_seqposemb_vit_base_multiscan_h3_dualdinotxt1568": _dual(_fine(_BASE_3_LEVELS)),
    "ablate_seqposemb_vit_large_multiscan_h2_dualdinotxt1568": _dual(_fine(_LARGE)),
    "ablate_seqposemb_vit_large_multiscan_h3_dualdinotxt1568": _dual(_fine(_LARGE_3_LEVELS)),
    # As its later code names them.
    "vit_base_slice_scan_token2744": _CHEST,
    "vit_base_slice_scan_dualdinotxt2744": _dual(_CHEST),
    "vit_base_scan_study_token1176": _with_positions(_BASE),
    "vit_base_scan_study_dualdinotxt1568": _dual(_fine(_BASE)),
    "vit_base_slice_scan_study_dualdinotxt1568": _dual(_fine(_BASE_3_LEVELS)),
    "vit_large_scan_study_dualdinotxt1568": _dual(_fine(_LARGE)),
    "vit_large_slice_scan_study_dualdinotxt1568": _dual(_fine(_LARGE_3_LEVELS)),
}
"""HLIP's. Their models are called clip_... with the same ending, and have BiomedBERT."""

ENCODERS: dict[str, EncoderConfig] = OUR_ENCODERS | HLIP_ENCODERS
