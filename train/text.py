"""Text for the text tower: composed, tokenised and encoded without padding to the full context.

In: sentences of a study, or prompts. Out: token ids as short as the longest text allows, and their
features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

import train.torchvision_ops  # noqa: F401  (before open_clip)

# isort: split
from open_clip import CustomTextCLIP
from open_clip.transformer import TextTransformer, text_global_pool


def compose(
    sentences: Sequence[str], prefix: str, whole: bool, count: int, rng: np.random.Generator
) -> tuple[str, ...]:
    """`count` texts, each one sentence by chance after the prefix, none twice before all were
    there; or (`whole`) one text of all sentences in random order. With a count of 1 as HLIP does.
    """
    order = rng.permutation(len(sentences))
    if whole:
        return (prefix + " ".join(sentences[i] for i in order),)
    return tuple(prefix + sentences[order[n % len(order)]] for n in range(count))


def padding_of(tokenizer: object) -> int:
    """The token with which an open_clip tokenizer fills up: 0 of its own, any of Hugging Face's."""
    inner = getattr(tokenizer, "tokenizer", None)
    return 0 if inner is None else int(inner.pad_token_id)


def trim(tokens: Tensor, padding: int = 0) -> Tensor:
    """Token ids [..., L] without the columns of padding behind the longest text. The last token of
    a text is never padding."""
    used = tokens.flatten(0, -2).ne(padding).any(0).nonzero()
    return tokens[..., : int(used[-1]) + 1].contiguous()


def encode_text(model: CustomTextCLIP, tokens_BL: Tensor) -> Tensor:
    """Text features [B, E], not normalised.

    A BERT leaves padding out by its mask, and takes texts of any length. open_clip's transformer
    applies its causal mask at full context length, so texts would have to
    be padded to it. Here the mask is cut: attention is causal and the last token is pooled, so what
    is left out could not change the result.
    """
    text = model.text
    if not (
        isinstance(text, TextTransformer) and text.cls_emb is None and text.attn_mask is not None
    ):
        return text(tokens_BL)
    length = tokens_BL.shape[1]
    x_BLC = text.token_embedding(tokens_BL) + text.positional_embedding[:length]
    x_BLC = text.transformer(x_BLC, attn_mask=text.attn_mask[:length, :length])
    pooled_BC = text_global_pool(
        text.ln_final(x_BLC), tokens_BL, pool_type=text.pool_type, eos_token_id=text.eos_id
    )
    projection = text.text_projection
    return projection(pooled_BC) if isinstance(projection, nn.Linear) else pooled_BC @ projection
