"""Scans into batches: our reader against the usual ways, on the same studies, in one run.

In: arrays of a dataset (or made ones). Out: JSON with CPU milliseconds a chosen scan, by way. Every
way reads 8 of the 20 scans of each study, in batches of 8 studies, from a warm page cache, in a
process of its own; CPU is that of the process and of its workers, without start and without the
first batch; ways take turns, the best round counts. The ways:
  pt_float       one .pt a scan, float, normalised and stacked on the CPU, fp16 (as HLIP does)
  pt_uint8       one .pt a scan, kept as uint8
  webdataset     our raw tars through plain webdataset: all 20 scans read, 8 chosen
  mds            MosaicML streaming, one scan a sample, uint8
  ours_raw, ours_zstd   index, preadv by threads into reused buffers

    python bench/loader.py [--dataset DIR] [--studies 16] [--rounds 3] [--mds-python PYTHON]

MosaicML streaming pins an old numpy and cannot be installed beside the project: give the Python of
an environment that has it, and the project's packages on its path.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

SCANS, CHOSEN, BATCH = 20, 8, 8
"""Scans of a study, of those read, studies of a batch."""
SHAPE = (48, 224, 224)
MEAN, STD = 0.449, 0.226
WORKERS = 2


def choice(study: int) -> list[int]:
    """The scans of a study that are read: the same in every way."""
    return sorted(np.random.default_rng(study).permutation(SCANS)[:CHOSEN].tolist())


def arrays_of(dataset: Path | None) -> list[np.ndarray]:
    """Scans to fill studies with: those of a real dataset, or smooth ones with noise."""
    if dataset is not None:
        from shards.reader import Dataset

        opened = Dataset.open(dataset)
        found = [
            opened.read_scan(ref, n)
            for ref in opened.samples()
            for n, address in enumerate(ref.scans)
            if address.shape == SHAPE and address.dtype == "uint8"
        ]
        if found:
            return found
    d, h, w = np.ogrid[-1 : 1 : SHAPE[0] * 1j, -1 : 1 : SHAPE[1] * 1j, -1 : 1 : SHAPE[2] * 1j]
    inside = d**2 + h**2 + w**2 < 0.8
    random = np.random.default_rng(0)
    noise = [random.normal(90 + 60 * np.sin(9 * h + n), 8, SHAPE) for n in range(4)]
    return [np.where(inside, one, 0).clip(0, 255).astype(np.uint8) for one in noise]


def prepare(home: Path, arrays: list[np.ndarray], studies: int) -> None:
    """The same studies in every form but that of MosaicML."""
    import torch

    from shards.writer import ShardWriter, finish_dataset
    from study.records import Matrix, Report, Scan, Study

    affine: Matrix = ((0, 0, -1, 0), (0, 1, 0, 0), (3, 0, 0, 0), (0, 0, 0, 1))
    for study in range(studies):
        for scan in range(SCANS):
            folder = home / "pt" / str(study) / str(scan)
            folder.mkdir(parents=True)
            torch.save(
                torch.from_numpy(arrays[(study * 7 + scan) % len(arrays)]), folder / "img.pt"
            )
    for name, compression in (("raw", "none"), ("zstd", "zstd")):
        for shard in range(0, studies, BATCH):
            with ShardWriter(home / name, shard // BATCH, compression) as writer:
                for study in range(shard, min(shard + BATCH, studies)):
                    scans = tuple(
                        Scan(
                            array=arrays[(study * 7 + scan) % len(arrays)],
                            modality="MR",
                            plane="axial",
                            window="percentile",
                            window_limits=(0.0, 1.0),
                            spacing_mm=(3.0, 1.0, 1.0),
                            affine=affine,
                            source_shape=SHAPE,
                            source_spacing_mm=(3.0, 1.0, 1.0),
                            source_affine=affine,
                            series_index=scan,
                            digest=f"{study:04x}{scan:04x}",
                        )
                        for scan in range(SCANS)
                    )
                    key = f"{study:032x}"
                    writer.add(Study(key, key, "train", scans, Report({}, ""), {}, None, ""))
        finish_dataset(home / name, fingerprint="0" * 64, provenance={}, settings={})


def torch_batches(home: Path, studies: int, *, as_float: bool) -> Iterator[Any]:
    import torch

    class Scans(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return studies

        def __getitem__(self, study: int) -> torch.Tensor:
            files = [home / "pt" / str(study) / str(scan) / "img.pt" for scan in choice(study)]
            scans = [torch.load(file, weights_only=True) for file in files]
            if not as_float:
                return torch.stack(scans)
            normalised = [(scan.float() / 255 - MEAN) / STD for scan in scans]
            return torch.stack(normalised).half()

    return iter(torch.utils.data.DataLoader(Scans(), batch_size=BATCH, num_workers=WORKERS))


def webdataset_batches(home: Path, studies: int) -> Iterator[Any]:
    import io

    import torch
    import webdataset

    def chosen(sample: dict[str, Any]) -> torch.Tensor:
        study = int(sample["__key__"], 16)
        arrays = [np.load(io.BytesIO(sample[f"s{scan:02d}.npy"])) for scan in choice(study)]
        return torch.from_numpy(np.stack(arrays))

    tars = [f"file:{path}" for path in sorted((home / "raw").glob("*.tar"))]
    dataset = webdataset.WebDataset(tars, shardshuffle=False).map(chosen)
    return iter(torch.utils.data.DataLoader(dataset, batch_size=BATCH, num_workers=WORKERS))


def mds_batches(home: Path, studies: int) -> Iterator[Any]:
    importlib.import_module("train.torchvision_ops")  # before torchvision, which streaming imports
    import torch
    from streaming import MDSWriter, StreamingDataset

    folder = home / "mds"
    if not folder.exists():
        with MDSWriter(out=str(folder), columns={"scan": "ndarray:uint8"}, size_limit="1gb") as out:
            for study in range(studies):
                for scan in range(SCANS):
                    file = home / "pt" / str(study) / str(scan) / "img.pt"
                    out.write({"scan": torch.load(file, weights_only=True).numpy()})
    scans = StreamingDataset(local=str(folder), shuffle=False, batch_size=BATCH)

    class Studies(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return studies

        def __getitem__(self, study: int) -> torch.Tensor:
            arrays = [scans[study * SCANS + scan]["scan"] for scan in choice(study)]
            return torch.from_numpy(np.stack(arrays))

    return iter(torch.utils.data.DataLoader(Studies(), batch_size=BATCH, num_workers=WORKERS))


@cache
def reused_buffers() -> list[np.ndarray]:
    """Made once a process, as a trainer does."""
    return [np.empty((BATCH * CHOSEN, *SHAPE), np.uint8) for _ in range(2)]


def our_batches(home: Path, studies: int, name: str) -> Iterator[Any]:
    from shards.reader import Dataset

    dataset = Dataset.open(home / name)
    refs = dataset.samples()
    buffers = reused_buffers()
    with ThreadPoolExecutor(WORKERS) as pool:
        for number, first in enumerate(range(0, studies, BATCH)):
            wanted = [
                (ref, scan)
                for ref in refs[first : first + BATCH]
                for scan in choice(int(ref.key, 16))
            ]
            yield dataset.read_scans(wanted, buffers[number % 2], pool)


def batches(way: str, home: Path, studies: int) -> Iterator[Any]:
    if way in ("pt_float", "pt_uint8"):
        return torch_batches(home, studies, as_float=way == "pt_float")
    if way == "webdataset":
        return webdataset_batches(home, studies)
    if way == "mds":
        return mds_batches(home, studies)
    return our_batches(home, studies, way.removeprefix("ours_"))


def cpu_seconds() -> float:
    """Of this process and of its workers that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def measure(way: str, home: Path, studies: int, passes: int) -> dict[str, float]:
    """CPU and wall milliseconds a chosen scan; a pass more than counted warms cache and imports."""
    for _ in batches(way, home, studies):
        pass
    cpu, wall, scans = cpu_seconds(), time.perf_counter(), 0
    for _ in range(passes):
        for batch in batches(way, home, studies):
            scans += int(np.prod(batch.shape[: -len(SHAPE)]))
    assert scans == passes * studies * CHOSEN, (scans, passes, studies)
    return {
        "cpu_ms_a_scan": (cpu_seconds() - cpu) / scans * 1e3,
        "wall_ms_a_scan": (time.perf_counter() - wall) / scans * 1e3,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", type=Path, help="take the arrays of this dataset")
    parser.add_argument("--studies", type=int, default=16)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mds-python", help="Python of an environment with mosaicml-streaming")
    parser.add_argument("--way", help="measure one way, in a prepared --home")
    parser.add_argument("--home", type=Path)
    arguments = parser.parse_args()
    if arguments.way:
        found = measure(arguments.way, arguments.home, arguments.studies, arguments.passes)
        print(json.dumps(found))
        return
    ways = ["pt_float", "pt_uint8", "webdataset", "ours_raw", "ours_zstd"]
    ways += ["mds"] if arguments.mds_python else []
    best: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="loader-") as name:
        home = Path(name)
        arrays = arrays_of(arguments.dataset)
        prepare(home, arrays, arguments.studies)
        raw = sum(path.stat().st_size for path in home.glob("raw/*.tar"))
        zstd = sum(path.stat().st_size for path in home.glob("zstd/*.tar"))
        for _ in range(arguments.rounds):
            for way in ways:
                python = arguments.mds_python if way == "mds" else sys.executable
                options = ["--way", way, "--home", name, "--studies", str(arguments.studies)]
                command = [python, __file__, *options, "--passes", str(arguments.passes)]
                out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                found = json.loads(out.stdout.splitlines()[-1])
                if way not in best or found["cpu_ms_a_scan"] < best[way]["cpu_ms_a_scan"]:
                    best[way] = found
    hlip = best["pt_float"]["cpu_ms_a_scan"]
    facts = {
        "ways": {
            way: {
                **{what: round(value, 3) for what, value in best[way].items()},
                "cpu_ms_a_study": round(best[way]["cpu_ms_a_scan"] * CHOSEN, 2),
                "pt_float_over_this": round(hlip / best[way]["cpu_ms_a_scan"], 1),
            }
            for way in ways
        },
        "arrays": f"{len(arrays)} of {arguments.dataset.name if arguments.dataset else 'made'}",
        "zstd_ratio": round(raw / zstd, 2),
        "studies": arguments.studies,
        "rounds": arguments.rounds,
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
    }
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
