"""One optimizer step: forward, loss, backward, guard, update.

In: the model, its optimizer, a batch. Out: what the step measured. A loss or gradient that is not
finite stops the run before the optimizer has touched the weights, and names the studies.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from study.errors import UserError
from study.sections import Train
from train.batch import Batch
from train.clip import CustomTextCLIP
from train.loss import clip_loss
from train.optim import clamp_logit_scale, learning_rate_at, set_learning_rate
from train.text import encode_text

SHOWN_KEYS = 8
"""Keys of studies that an error names; RUN/log.jsonl has all."""


@dataclass(frozen=True)
class StepResult:
    """Measures of one step."""

    loss: float
    grad_norm: float
    """Before clipping."""
    learning_rate: float
    scale: float
    """What products of features are multiplied with."""


class NotFinite(UserError):
    """The loss or a gradient is not a finite number. `keys` are the studies of the batch."""

    def __init__(self, message: str, keys: tuple[str, ...]) -> None:
        super().__init__(message)
        self.keys = keys


def train_step(
    model: CustomTextCLIP,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    step: int,
    steps: int,
    settings: Train,
) -> StepResult:
    """Step number `step` (from 0) of `steps`. Torch's random state is set from (seed, step), for
    drop path.

    Raises NotFinite before the update; the weights are then those of the step before.
    """
    device = next(model.parameters()).device
    torch.manual_seed(settings.seed * 1_000_003 + step)
    learning_rate = learning_rate_at(step, steps, settings.warmup_steps, settings.learning_rate)
    set_learning_rate(optimizer, learning_rate)
    with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
        image_BE = model.visual(batch.studies.to(device))
        tokens_BTL = batch.tokens_BTL.to(device, non_blocking=True)
        text_NE = encode_text(model, tokens_BTL.flatten(0, 1))
    scale = model.logit_scale.exp()
    image_BE = F.normalize(image_BE.float(), dim=-1)
    text_BTE = F.normalize(text_NE.float(), dim=-1).unflatten(0, tokens_BTL.shape[:2])
    losses = [clip_loss(image_BE, text_BE, scale) for text_BE in text_BTE.unbind(1)]
    loss = torch.stack(losses).mean()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    trainable = [p for p in model.parameters() if p.grad is not None]
    grad_norm = nn.utils.clip_grad_norm_(trainable, settings.grad_clip or float("inf"))
    measured = torch.stack([loss.detach(), grad_norm, scale.detach()]).tolist()
    if not all(value - value == 0 for value in measured):
        raise NotFinite(_explain(step, measured[0], measured[1], batch.keys), batch.keys)
    optimizer.step()
    clamp_logit_scale(model)
    return StepResult(
        loss=measured[0], grad_norm=measured[1], learning_rate=learning_rate, scale=measured[2]
    )


def _explain(step: int, loss: float, grad_norm: float, keys: tuple[str, ...]) -> str:
    more = f" and {len(keys) - SHOWN_KEYS} more" if len(keys) > SHOWN_KEYS else ""
    return (
        f"step {step + 1}: the loss is {loss}, the gradient norm {grad_norm}; stopped before the "
        f"weights were changed. Studies of the step: {', '.join(keys[:SHOWN_KEYS])}{more}. Look at "
        "them with `dicom2clip shards show`; if they are right, lower train.learning_rate or "
        "lengthen train.warmup_steps, and go on from the last checkpoint"
    )
