"""The contrastive loss of CLIP.

In: features of matching studies and texts, normalised, and the scale of their products. Out: the
loss, a scalar.
The one idea: every process compares its own rows with the columns of all processes, so the loss
takes both apart; with one process they are the same tensors.
Source: Radford et al. 2021 (arXiv 2103.00020); open_clip's ClipLoss with local_loss and
gather_with_grad.

Shapes: B pairs of this process, G pairs of all processes, E joint channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def clip_loss(
    image_BE: Tensor,
    text_BE: Tensor,
    scale: Tensor,
    all_image_GE: Tensor | None = None,
    all_text_GE: Tensor | None = None,
    first_row: int = 0,
) -> Tensor:
    """Mean cross entropy of finding the text of a study and the study of a text.

    `scale` multiplies the products (the exponential of the learned logit scale). Where features of
    all processes are given, this process's rows stand in them from `first_row` on.
    """
    all_image_GE = image_BE if all_image_GE is None else all_image_GE
    all_text_GE = text_BE if all_text_GE is None else all_text_GE
    target_B = torch.arange(first_row, first_row + image_BE.shape[0], device=image_BE.device)
    from_image = F.cross_entropy(scale * image_BE @ all_text_GE.T, target_B)
    from_text = F.cross_entropy(scale * text_BE @ all_image_GE.T, target_B)
    return (from_image + from_text) / 2
