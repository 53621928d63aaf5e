"""Dataset and checkpoint -> one embedding a study, kept on disk until either changes.

In: the studies of a split and a model. Out: `Embeddings`, and `RUN/eval/embeddings_SPLIT.parquet`.
Encoding costs all the time of an evaluation and depends on nothing that a benchmark says, so it is
done once: the file carries what it was made from (digests of the checkpoint and of the split's
scans), and is used again only where all of it is equal. Studies of like numbers of scans are
encoded together, as they are: none is padded, and no scan is seen twice.

Shapes: N studies, K channels of the joint space, S scans of a batch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from shards.files import atomic_file
from shards.index import SampleRef
from shards.reader import Dataset
from study.errors import UserError
from train.checkpoint import LoadedModel
from train.vit import Studies

META = b"dicom2clip"
"""Key of the Parquet file's metadata under which `Origin` lies."""


@dataclass(frozen=True)
class Origin:
    """What embeddings depend on. Two files with equal origins hold equal embeddings."""

    checkpoint_sha256: str
    scans_sha256: str
    """Of the keys and checksums of the split's scans; labels and texts do not enter."""
    split: str
    max_scans: int


@dataclass(frozen=True)
class Embeddings:
    """One row a study, in the dataset's order."""

    keys: tuple[str, ...]
    patients: tuple[str, ...]
    num_scans: tuple[int, ...]
    """Scans that were encoded."""
    features_NK: NDArray[np.float32]
    """Normalised."""


def embed_split(
    dataset: Dataset,
    refs: Sequence[SampleRef],
    loaded: LoadedModel,
    *,
    max_scans: int,
    batch_size: int,
    done: Callable[[int], None] = lambda studies: None,
) -> Embeddings:
    """Encode the studies `refs`; after every batch `done` is told how many are encoded.

    Memory: a batch holds at most `batch_size` studies and at most `max_scans` scans. Raises
    UserError where their scans are not of the grid that the model was trained on.
    """
    _need_grid(refs, loaded.grid)
    chosen = [choose_scans(len(ref.scans), max_scans) for ref in refs]
    device = next(loaded.model.parameters()).device
    rows: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(refs)
    encoded = 0
    model: Any = loaded.model.eval()  # nn.Module does not know of open_clip's methods
    for batch in plan_batches([len(scans) for scans in chosen], batch_size, max_scans):
        wanted = [(refs[row], scan) for row in batch for scan in chosen[row]]
        pixels_SDHW = np.empty((len(wanted), *loaded.grid), np.uint8)
        for (ref, scan), out in zip(wanted, pixels_SDHW, strict=True):
            dataset.read_scan(ref, scan, out)
        counts = tuple(len(chosen[row]) for row in batch)
        studies = Studies(torch.from_numpy(pixels_SDHW).unsqueeze(1), counts).to(device)
        with torch.inference_mode():
            features = model.encode_image(studies, normalize=True)
        if features.ndim == 3:  # models of the dual loss: token 0 is matched with sentences
            features = features[:, 0]
        for row, feature in zip(batch, features.float().cpu().numpy(), strict=True):
            rows[row] = feature
        encoded += len(batch)
        done(encoded)
    return Embeddings(
        keys=tuple(ref.key for ref in refs),
        patients=tuple(ref.patient for ref in refs),
        num_scans=tuple(len(scans) for scans in chosen),
        features_NK=np.stack(rows),
    )


def choose_scans(num_scans: int, max_scans: int) -> tuple[int, ...]:
    """All scans, or `max_scans` of them at even distances, in stored order: the same ones every
    time."""
    if num_scans <= max_scans:
        return tuple(range(num_scans))
    return tuple((2 * i + 1) * num_scans // (2 * max_scans) for i in range(max_scans))


def plan_batches(counts: Sequence[int], batch_size: int, max_scans: int) -> Iterator[list[int]]:
    """Rows of every batch: studies of like numbers of scans together, the largest first (so memory
    fails early)."""
    batch: list[int] = []
    scans = 0
    for row in sorted(range(len(counts)), key=lambda row: -counts[row]):
        if batch and (len(batch) == batch_size or scans + counts[row] > max_scans):
            yield batch
            batch, scans = [], 0
        batch.append(row)
        scans += counts[row]
    if batch:
        yield batch


# ------------------------------------------------------------------------------------------ on disk


def load_embeddings(file: Path, origin: Origin) -> Embeddings | None:
    """The embeddings in `file`, if they are of this very origin."""
    if not file.is_file():
        return None
    try:
        table = pq.read_table(file)
    except (OSError, pa.ArrowInvalid):
        return None  # a damaged cache is no cache
    if json.loads((table.schema.metadata or {}).get(META, b"null")) != asdict(origin):
        return None
    width = table.schema.field("embedding").type.list_size
    flat = table["embedding"].combine_chunks().flatten().to_numpy()
    return Embeddings(
        keys=tuple(table["key"].to_pylist()),
        patients=tuple(table["patient"].to_pylist()),
        num_scans=tuple(table["num_scans"].to_pylist()),
        features_NK=flat.reshape(-1, width),
    )


def save_embeddings(file: Path, embeddings: Embeddings, origin: Origin) -> None:
    """Columns key, patient, num_scans, embedding (fixed-size list of float32)."""
    width = embeddings.features_NK.shape[1]
    table = pa.table(
        {
            "key": list(embeddings.keys),
            "patient": list(embeddings.patients),
            "num_scans": pa.array(embeddings.num_scans, pa.int32()),
            "embedding": pa.FixedSizeListArray.from_arrays(
                pa.array(embeddings.features_NK.ravel(), pa.float32()), width
            ),
        }
    )
    table = table.replace_schema_metadata({META: json.dumps(asdict(origin)).encode()})
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with atomic_file(file) as stream:
        pq.write_table(table, stream, compression="zstd")


def scans_sha256(refs: Sequence[SampleRef]) -> str:
    """Digest of which studies these are and of every byte of their scans (by its checksum in the
    index)."""
    facts = [[ref.key, *(scan.crc32c for scan in ref.scans)] for ref in refs]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def file_sha256(file: Path) -> str:
    """Digest of a file's bytes. UserError where it cannot be read."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {file}: {error}") from None


def _need_grid(refs: Sequence[SampleRef], grid: Sequence[int]) -> None:
    for ref in refs:
        shapes = {scan.shape for scan in ref.scans}
        if shapes != {tuple(grid)}:
            raise UserError(
                f"study {ref.key} has scans of (D, H, W) = {sorted(shapes)}, the checkpoint was "
                f"trained on {tuple(grid)}: evaluate on a dataset of the same ingest.grid"
            )
        dtypes = {scan.dtype for scan in ref.scans} - {"uint8"}
        if dtypes:
            raise UserError(
                f"study {ref.key} has scans of {', '.join(sorted(dtypes))}; evaluation reads "
                "uint8: ingest with grid.dtype: uint8"
            )
