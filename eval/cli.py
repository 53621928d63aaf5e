"""Pipeline -> checkpoint, embeddings, benchmarks, tables: what `dicom2clip eval` calls.

In: a resolved `Pipeline` and, if wanted, a checkpoint other than the newest. Out: results, printed
and written to RUN/eval. Everything that the user could have got wrong is found before the first
study is encoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from rich.console import Console

from eval import embed
from eval.embed import Embeddings, Origin
from eval.prompts import Benchmark, find_benchmark
from eval.report import Source, print_result, write_result
from eval.zeroshot import BenchmarkResult, Cohort, TextTower, evaluate_benchmark
from shards.index import SampleRef
from shards.reader import CorruptSample, Dataset
from study.config import Pipeline
from study.errors import UserError
from study.progress import Bars
from study.runlog import provenance
from train.checkpoint import LoadedModel, load_model, newest_checkpoint
from train.loader import open_dataset
from train.text import encode_text, padding_of, trim

TEXTS_AT_ONCE = 256
"""Prompts that go through the text tower in one batch."""


def evaluate(
    pipeline: Pipeline, *, console: Console, checkpoint: Path | None = None
) -> list[BenchmarkResult]:
    """Run the pipeline's benchmarks on its split, with `checkpoint` or the newest of its run.

    Raises UserError for no or unknown benchmarks, no checkpoint, no dataset, no studies in the
    split, no labels.
    """
    settings = pipeline.eval
    benchmarks = _benchmarks(settings.benchmarks)
    checkpoint = _checkpoint(pipeline, checkpoint)
    dataset = open_dataset(pipeline)
    refs = _studies(dataset, pipeline)
    labels = _labels(dataset, refs)
    for benchmark in benchmarks:
        _need_labels(benchmark, labels, pipeline)

    loaded = load_model(checkpoint, _device(pipeline.train.device))
    origin = Origin(
        checkpoint_sha256=embed.file_sha256(checkpoint),
        scans_sha256=embed.scans_sha256(refs),
        split=settings.split,
        max_scans=settings.max_scans,
    )
    folder = Path(pipeline.run) / "eval"
    embeddings = _embeddings(folder, origin, dataset, refs, loaded, pipeline, console)
    cohort = Cohort(embeddings.keys, embeddings.patients, embeddings.features_NK, labels)
    source = Source(
        pipeline=pipeline.name,
        checkpoint=str(checkpoint),
        checkpoint_sha256=origin.checkpoint_sha256,
        step=loaded.step,
        model=loaded.settings.model.name,
        prefix=loaded.settings.prefix,
        dataset=dataset.info.fingerprint,
        scans_sha256=origin.scans_sha256,
        split=settings.split,
        max_scans=settings.max_scans,
        versions=provenance(),
    )
    tower = text_tower(loaded)
    results = []
    for benchmark in benchmarks:
        result = evaluate_benchmark(
            benchmark, cohort, tower, resamples=settings.bootstrap, seed=settings.seed
        )
        file, changed = write_result(result, source, folder)
        print_result(console, result, source)
        _say(console, f"Written: {file}" if changed else f"eval: nothing to do, {file} has this")
        results.append(result)
    return results


def text_tower(loaded: LoadedModel) -> TextTower:
    """The model's text side as plain functions of strings; a text is encoded once, however many
    classes use it."""
    model: Any = loaded.model.eval()  # nn.Module does not know of open_clip's methods
    device = next(model.parameters()).device
    known: dict[str, NDArray[np.float32]] = {}

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        for start in range(0, len(new), TEXTS_AT_ONCE):
            some = new[start : start + TEXTS_AT_ONCE]
            with torch.inference_mode():
                tokens = trim(loaded.tokenizer(some), padding_of(loaded.tokenizer))
                features = F.normalize(encode_text(model, tokens.to(device)), dim=-1)
            known.update(zip(some, features.float().cpu().numpy(), strict=True))
        return np.stack([known[text] for text in texts])

    return TextTower(encode, loaded.settings.prefix, float(model.logit_scale.detach().exp()))


# ---------------------------------------------------------------------- what the user may get wrong


def _benchmarks(names: Sequence[str]) -> list[Benchmark]:
    if not names:
        raise UserError(
            "eval.benchmarks is empty: name at least one, as in --set 'eval.benchmarks=[demo]', "
            "or write one of your own (docs/benchmarks.md)"
        )
    benchmarks = [find_benchmark(name) for name in names]
    called = [benchmark.name for benchmark in benchmarks]
    twice = next((name for name in called if called.count(name) > 1), None)
    if twice is not None:
        raise UserError(
            f"eval.benchmarks: two of {', '.join(names)} have the name {twice!r}: "
            "their results would overwrite each other"
        )
    return benchmarks


def _checkpoint(pipeline: Pipeline, checkpoint: Path | None) -> Path:
    if checkpoint is None:
        return newest_checkpoint(Path(pipeline.run))
    if not checkpoint.is_file():
        raise UserError(f"there is no checkpoint {checkpoint}")
    return checkpoint


def _studies(dataset: Dataset, pipeline: Pipeline) -> list[SampleRef]:
    refs = list(dataset.samples(pipeline.eval.split))
    if not refs:
        raise UserError(
            f"{pipeline.dataset} has no studies in the split {pipeline.eval.split!r}: choose "
            "another with --set eval.split=..., or ingest with a larger ingest.test_fraction"
        )
    return refs


def _labels(dataset: Dataset, refs: Sequence[SampleRef]) -> tuple[Mapping[str, float], ...]:
    try:
        return tuple(dataset.metadata(ref)["labels"] for ref in refs)
    except CorruptSample as error:
        raise _damaged(dataset, error) from None


def _damaged(dataset: Dataset, error: CorruptSample) -> UserError:
    return UserError(
        f"{error}\nthe dataset is damaged: see `dicom2clip shards verify {dataset.path}`"
    )


def _need_labels(
    benchmark: Benchmark, labels: Sequence[Mapping[str, float]], pipeline: Pipeline
) -> None:
    wanted = [c.label for c in benchmark.classes]
    there = sorted({name for study in labels for name in study})
    if not set(wanted) & set(there):
        found = (
            f"they have: {', '.join(there)}"
            if there
            else "they have none at all (see ingest.labels)"
        )
        raise UserError(
            f"benchmark {benchmark.name}: no study of the split {pipeline.eval.split!r} of "
            f"{pipeline.dataset} has one of its labels {', '.join(wanted)}; {found}"
        )


# --------------------------------------------------------------------------------------- embeddings


def _embeddings(
    folder: Path,
    origin: Origin,
    dataset: Dataset,
    refs: Sequence[SampleRef],
    loaded: LoadedModel,
    pipeline: Pipeline,
    console: Console,
) -> Embeddings:
    """From RUN/eval where nothing changed since, else encoded now and saved."""
    file = folder / f"embeddings_{origin.split}.parquet"
    kept = embed.load_embeddings(file, origin)
    if kept is not None:
        _say(console, f"Embeddings of {len(refs)} studies are up to date: {file}")
        return kept
    with Bars(console, {"encode": "encoding studies"}) as bars:
        try:
            embeddings = embed.embed_split(
                dataset,
                refs,
                loaded,
                max_scans=pipeline.eval.max_scans,
                batch_size=pipeline.eval.batch_size,
                done=lambda studies: bars("encode", studies, len(refs)),
            )
        except CorruptSample as error:
            raise _damaged(dataset, error) from None
    embed.save_embeddings(file, embeddings, origin)
    return embeddings


def _say(console: Console, line: str) -> None:
    """A line with a path: not styled, not wrapped."""
    console.print(line, style="dim", highlight=False, markup=False, soft_wrap=True)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)
