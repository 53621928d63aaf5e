"""A crawl of any length: some files at a time, in the order of their paths.

In: source folders and the table of the last crawl. Out: rows of `instances.parquet`, a chunk of
files after the other, each chunk by path and frame; memory holds one. The digests of what may be
copies are not among them: copies can be anywhere, but only within a study do they matter, so that
`prepare` makes them, where a study is whole. The rows of earlier are read by ranges of paths.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from ingest import table
from ingest.crawl import FILES_PER_TASK, Mapper, discard_unused, read_some
from ingest.place import MEMBER, Place
from ingest.source_files import all_files
from ingest.unchanged import CrawlSettings
from study.errors import UserError
from study.records import Instance, Reason

FILES = 256 * FILES_PER_TASK
"""Of a chunk: a multiple of a task's, so that tasks are the same however long the crawl is. With
one image a file, its rows take some 200 MB."""
LAST = "\U0010ffff"


def crawl_in_chunks(
    folders: Sequence[str],
    previous: Path,
    run: Mapper,
    on_progress: Callable[[int, int], None],
    settings: CrawlSettings,
) -> Iterator[list[Instance]]:
    """Rows of all files below `folders`; the arguments are those of `crawl`. The number of all
    files that `on_progress` is told grows from chunk to chunk."""

    def earlier(places: Sequence[Place]) -> Iterable[Instance]:
        paths = [place.path for place in places]
        return table.read_between(previous, min(paths), max(paths) + MEMBER + LAST)

    count = Counter[str]()
    archives: list[str] = []
    in_use: set[str] = set()
    paths = all_files(folders)
    while some := list(islice(paths, FILES)):
        found = read_some(some, earlier, run, settings, count, on_progress)
        archives += found.archives
        in_use |= {file for file in found.in_use if Path(file).parent == Path(settings.unpacked)}
        yield sorted(found.rows, key=lambda row: (row.path, row.frame))
    discard_unused(settings.unpacked, archives, in_use)


class Crawled:
    """The rows of a crawl, to be read once, counted as they go by. Its first chunk is read when it
    is made, so that what is wrong with a source is said before anything is written."""

    def __init__(self, chunks: Iterator[list[Instance]], source: Sequence[str]) -> None:
        self._first, self._rest, self._source = next(chunks, []), chunks, source
        self.images = self.files = 0
        self._has_dicom = any(row.reason is not Reason.NOT_DICOM for row in self._first)
        self.files = len({row.path for row in self._first})
        if self.files < FILES:
            self._refuse_without_dicom()

    def __iter__(self) -> Iterator[Instance]:
        self.files = 0
        for chunk in chain([self._first], self._rest):
            self._first = []
            self.images += len(chunk)
            self.files += len({row.path for row in chunk})
            self._has_dicom |= any(row.reason is not Reason.NOT_DICOM for row in chunk)
            yield from chunk
        self._refuse_without_dicom()

    def _refuse_without_dicom(self) -> None:
        """UserError where all that was read so far is something else."""
        if not self._has_dicom:
            raise UserError(
                f"ingest.source: none of the {self.files} files in {', '.join(self._source)} is "
                "DICOM"
            )
