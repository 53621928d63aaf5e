"""The encoders that have a name. Each is registered with timm under it, and with open_clip by a
file in model_configs/.

In: nothing. Out: `ENCODERS`. A variant of one of them is a matter of `train.model` in
pipelines.yaml, not of a new name.
"""

from __future__ import annotations

from train.variant import EncoderConfig

ENCODERS: dict[str, EncoderConfig] = {
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
        img_size=(48, 224, 224),
        patch_size=(8, 16, 16),
        embed_dim=192,
        depth=6,
        num_heads=3,
        scan_blocks=(0, 1, 3, 4),
        study_blocks=(2, 5),
    ),
    "hlip_vit_base_scan_study": EncoderConfig(
        img_size=(48, 224, 224),
        patch_size=(6, 16, 16),
        embed_dim=768,
        depth=12,
        num_heads=12,
        scan_blocks=(0, 1, 3, 4, 6, 7, 9, 10),
        study_blocks=(2, 5, 8, 11),
        drop_path_rate=0.2,
    ),
}
