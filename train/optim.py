"""The optimizer and its schedule.

In: a model and the settings of training. Out: AdamW with its parameter groups; the learning rate of
a step. Weight decay is for matrices only: not for tokens, position tables, norms, biases and
scales.
"""

from __future__ import annotations

import math

import torch
from torch import nn

EPSILON = 1e-6
"""AdamW's, as HLIP trains."""
BETA1 = 0.9
MAX_LOGIT_SCALE = math.log(100)
"""The learned scale is clamped to 0..this after every step (Radford et al. 2021)."""
NO_DECAY = ("cls_token", "reg_token", "positional_embedding", "posemb")
"""Endings of names of parameters with several dimensions that are tokens or positions."""


def adamw(
    model: nn.Module, learning_rate: float, weight_decay: float, beta2: float
) -> torch.optim.AdamW:
    """Fused AdamW over the trainable parameters, in two groups: with and without decay."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    decay = [p for name, p in named if p.ndim >= 2 and not name.endswith(NO_DECAY)]
    others = [p for name, p in named if p.ndim < 2 or name.endswith(NO_DECAY)]
    groups = [
        {"params": decay, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups, lr=learning_rate, betas=(BETA1, beta2), eps=EPSILON, fused=True
    )


def learning_rate_at(step: int, steps: int, warmup_steps: int, peak: float) -> float:
    """Of the step with this index (from 0): linear warm-up, then half a cosine to zero."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return (
        peak * 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, steps - warmup_steps)))
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


@torch.no_grad()
def clamp_logit_scale(model: nn.Module) -> None:
    scale = model.logit_scale
    assert isinstance(scale, nn.Parameter)
    scale.clamp_(0, MAX_LOGIT_SCALE)
