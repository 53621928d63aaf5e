"""The contrastive loss, against open_clip's."""

from __future__ import annotations

import open_clip
import torch
import torch.nn.functional as F

import train.clip  # noqa: F401  (before open_clip loads torchvision)
from train.loss import clip_loss


def test_equals_open_clip_forward_and_backward() -> None:
    torch.manual_seed(0)
    raw = torch.randn(2, 7, 5)
    results = []
    for loss in (clip_loss, open_clip.ClipLoss()):
        leaf, log_scale = raw.clone().requires_grad_(), torch.tensor(2.5, requires_grad=True)
        image, text = F.normalize(leaf, dim=-1)
        value = loss(image, text, log_scale.exp())
        value.backward()
        results.append((value.detach(), leaf.grad, log_scale.grad))
    torch.testing.assert_close(results[0], results[1])


def test_parts_of_a_gathered_batch_average_to_the_whole() -> None:
    torch.manual_seed(0)
    image, text = F.normalize(torch.randn(2, 8, 5), dim=-1)
    scale = torch.tensor(10.0)
    parts = [
        clip_loss(image[i : i + 4], text[i : i + 4], scale, image, text, first_row=i)
        for i in (0, 4)
    ]
    torch.testing.assert_close(torch.stack(parts).mean(), clip_loss(image, text, scale))
