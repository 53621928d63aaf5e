"""Names of models that lie elsewhere -> folders on this machine.

In: a folder, or a name on the Hugging Face hub (owner/name, with @revision if wanted). Out: the
folder, or that of the hub's cache, into which only the files wanted were downloaded. Without a
network the cache is enough.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from study.errors import UserError

HUB_NAME = re.compile(r"^(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?$")
TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt"),
)
"""What a tokenizer may be made of."""


def folder_with_weights(
    name: str, key: str, files: Sequence[str], weights: Sequence[str]
) -> tuple[Path, Path | None]:
    """The folder that `name` means with `files`, and the first of `weights` that it has. On the hub
    the same weights often lie in several formats: pickles are asked for only where nothing else is.
    """
    safe = [file for file in weights if file.endswith(".safetensors")]
    for wanted in (safe, weights):
        folder = folder_of(name, key, (*files, *wanted))
        found = next((folder / file for file in weights if (folder / file).is_file()), None)
        if found is not None:
            return folder, found
    return folder, None


def folder_of(name: str, key: str, files: Sequence[str]) -> Path:
    """The folder that `name` means, with those of `files` (patterns) that are there.

    UserError, naming the setting `key`, where there is none.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    on_hub = HUB_NAME.match(name)
    if on_hub is None:
        raise UserError(f"{key}: there is no folder {name}, and it is no name on the hub")
    try:
        found = snapshot_download(
            on_hub["name"], revision=on_hub["revision"], allow_patterns=list(files)
        )
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"{key}: there is no folder {name}, and from the hub it cannot be had ({reason}). "
            "Download it where there is a network and give its folder"
        ) from None
    return Path(found)
