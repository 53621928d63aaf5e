"""A training step of the image encoder, forward and backward: ours against the usual ways, in one
run.

In: nothing; pixels are random. Out: JSON with seconds and peak memory of a step, by batch and way,
and their ratios to ours. HLIP's published recipe: 6 x 16 x 16 patches of 48 x 224 x 224, scan and
study blocks, half of the patches dropped. On the CPU seconds are those of the process on all its
threads and precision is float32; on CUDA they are seconds on the clock, in bfloat16. Every way runs
in processes of its own, ways take turns, the best step counts; memory is the most that a step adds.
Batches:
  equal    8 scans in each study
  ragged   1 to 8 scans, 4.5 on average
Ways, over the same weights and patches:
  ours            one flat buffer, nothing padded
  ours_again      the same with activation checkpointing
  ours_compiled   the same with compiled blocks (CUDA, or --compile)
  plain           a plain ViT: every block attends over all tokens of the study
  padded          studies padded to 8 scans, attention over the study with a mask

    python bench/encoder.py [--device cuda] [--studies 8] [--dim 768] [--rounds 3] [--compile]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from train.attention import Block
from train.variant import EncoderConfig
from train.vit import HierarchicalViT, Studies

SCANS, DROPPED, HEAD_DIM = 8, 0.5, 64
BATCHES = ("equal", "ragged")
WAYS = ("ours", "ours_again", "ours_compiled", "plain", "padded")

PROMPT_FREE = {"MALLOC_MMAP_THRESHOLD_": "65536"}
"""Has glibc give freed tensors back at once, so that resident memory is what is in use. It takes
time: memory and seconds are measured in different processes."""


def config_of(dim: int, size: tuple[int, int, int]) -> EncoderConfig:
    return EncoderConfig(
        img_size=size,
        patch_size=(6, 16, 16),
        embed_dim=dim,
        depth=12,
        num_heads=dim // HEAD_DIM,
        scan_blocks=(0, 1, 3, 4, 6, 7, 9, 10),
        study_blocks=(2, 5, 8, 11),
    )


def counts_of(batch: str, studies: int) -> tuple[int, ...]:
    """Scans of each study, ascending as the loader has them."""
    if batch == "equal":
        return (SCANS,) * studies
    return tuple(round(1 + (SCANS - 1) * i / max(1, studies - 1)) for i in range(studies))


def studies_of(config: EncoderConfig, counts: tuple[int, ...]) -> Studies:
    torch.manual_seed(1)
    scans, patches = sum(counts), config.tokens_per_scan
    pixels = torch.randint(256, (scans, 1, *config.img_size), dtype=torch.uint8)
    kept = round(patches * (1 - DROPPED))
    return Studies(pixels, counts, torch.rand(scans, patches).argsort(1)[:, :kept].sort(1)[0])


def padded(encoder: HierarchicalViT, studies: Studies) -> Tensor:
    """The same features from an array [B, N, ...] in which absent scans are zeros, masked as keys
    of the study's attention and left out of the mean of CLS."""
    config, counts = encoder.config, torch.tensor(studies.scans_per_study)
    device, num = studies.pixels.device, len(counts)
    there_BN = (torch.arange(SCANS) < counts[:, None]).to(device)
    pixels = studies.pixels.new_zeros(num, SCANS, *studies.pixels.shape[1:])
    pixels[there_BN] = studies.pixels
    assert studies.keep is not None
    keep = studies.keep.new_zeros(num, SCANS, studies.keep.shape[1])
    keep[...] = torch.arange(keep.shape[2], device=device)
    keep[there_BN] = studies.keep
    space_TC = encoder.spatial_posemb.flatten(1, 3)[0]
    keep_SK = keep.flatten(0, 1)
    patches = encoder.patch_embed(pixels.flatten(0, 1), keep_SK) + space_TC[keep_SK]
    share_BN11 = (there_BN / there_BN.sum(1, keepdim=True))[:, :, None, None]
    mask = there_BN.repeat_interleave(patches.shape[1], dim=1)
    mask = F.pad(mask, (1, 0), value=True)[:, None, None, :]
    rows, study = torch.cat([encoder.cls_token.expand(len(patches), -1, -1), patches], 1), False
    for index, block in enumerate(encoder.blocks):
        assert isinstance(block, Block)
        if (config.level(index) == "study") != study:
            study = not study
            cls, patches = rows[:, :1], rows[:, 1:]
            if study:
                cls = (cls.unflatten(0, (num, SCANS)) * share_BN11).sum(1)
                patches = patches.reshape(num, -1, patches.shape[-1])
            else:
                cls = cls.repeat_interleave(SCANS, dim=0)
                patches = patches.reshape(num * SCANS, -1, patches.shape[-1])
            rows = torch.cat([cls, patches], 1)
        rows = rows + masked(block, block.norm1(rows), mask if study else None)
        rows = rows + block.mlp(block.norm2(rows))
    return encoder.norm(rows[:, 0])


def masked(block: Block, x_RTC: Tensor, mask: Tensor | None) -> Tensor:
    qkv = block.attn.qkv(x_RTC).unflatten(-1, (3, block.attn.num_heads, -1))
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return block.attn.proj(out.transpose(1, 2).flatten(2))


def prepared(
    way: str, config: EncoderConfig
) -> tuple[HierarchicalViT, Callable[[Studies], Tensor]]:
    if way == "plain":
        config = replace(config, scan_blocks=(), study_blocks=tuple(range(config.depth)))
    torch.manual_seed(0)
    encoder = HierarchicalViT(config).train()
    encoder.set_grad_checkpointing(way == "ours_again")
    if way == "ours_compiled":
        encoder.compile_blocks()
    return encoder, (lambda studies: padded(encoder, studies)) if way == "padded" else encoder


def one(way: str, batch: str, options: argparse.Namespace) -> dict[str, float]:
    """Steps of one way, in this process."""
    torch.set_num_threads(options.threads)
    device, cuda = torch.device(options.device), options.device == "cuda"
    config = config_of(options.dim, tuple(options.size))
    encoder, encode = prepared(way, config)
    encoder.to(device)
    studies = studies_of(config, counts_of(batch, options.studies)).to(device)
    before = _begin_peak(cuda)
    best = float("inf")
    for step in range(options.steps + 1):
        began = _seconds(cuda)
        with torch.autocast("cuda", torch.bfloat16) if cuda else nullcontext():
            features = encode(studies)
        features.float().square().sum().backward()
        encoder.zero_grad()
        if step > 0:  # the first warms up
            best = min(best, _seconds(cuda) - began)
    return {"seconds": best, "peak_mb": (_peak_bytes(cuda) - before) / 1e6}


def _seconds(cuda: bool) -> float:
    if not cuda:
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def _begin_peak(cuda: bool) -> int:
    """Count the peak from here on; bytes that are in use."""
    if cuda:
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")
    return _resident("VmRSS")


def _peak_bytes(cuda: bool) -> int:
    return torch.cuda.max_memory_allocated() if cuda else _resident("VmHWM")


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def check(options: argparse.Namespace) -> None:
    """Padded attention gives the features that ours does, or the comparison is of two things."""
    config = config_of(HEAD_DIM, (12, 64, 64))
    studies = studies_of(config, counts_of("ragged", options.studies))
    with torch.no_grad():
        ours, theirs = (prepared(way, config)[1](studies) for way in ("ours", "padded"))
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def in_child(way: str, batch: str, environment: dict[str, str]) -> dict[str, float]:
    command = [sys.executable, *sys.argv, "--one", way, batch]
    out = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, env=os.environ | environment
    ).stdout
    return json.loads(out)


def in_turns(options: argparse.Namespace) -> dict[str, Any]:
    ways = [w for w in WAYS if w != "ours_compiled" or options.compile or options.device == "cuda"]
    found: dict[str, dict[str, dict[str, float]]] = {batch: {} for batch in BATCHES}
    for _ in range(options.rounds):
        for batch in BATCHES:
            for way in ways:
                new, old = in_child(way, batch, {}), found[batch].get(way)
                if options.device == "cpu" and old is None:
                    new["peak_mb"] = in_child(way, batch, PROMPT_FREE)["peak_mb"]
                if old:
                    new = {
                        "seconds": min(new["seconds"], old["seconds"]),
                        "peak_mb": old["peak_mb"],
                    }
                found[batch][way] = new
    for of_batch in found.values():
        ours = dict(of_batch["ours"])
        for measured in of_batch.values():
            measured |= {
                f"{key}_to_ours": round(measured[key] / ours[key], 2) for key in tuple(ours)
            }
            measured |= {key: round(measured[key], 3) for key in tuple(ours)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--studies", type=int, default=2, help="of a batch")
    parser.add_argument("--dim", type=int, default=192, help="768: ViT-B; a multiple of 64")
    parser.add_argument("--size", type=int, nargs=3, default=(48, 224, 224), metavar="VOXELS")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2, help="of a process, beside the first")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="compile on the CPU too")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(*options.one, options)))
        return
    check(options)
    where = torch.cuda.get_device_name() if options.device == "cuda" else platform.machine()
    setting = {k: v for k, v in vars(options).items() if k != "one"}
    facts = {"torch": torch.__version__, "on": where, **setting}
    print(json.dumps(facts | {"batches": in_turns(options)}, indent=1))


if __name__ == "__main__":
    main()
