"""What language models have answered: paid once, kept for good.

In: a folder, questions, answers and failures. Out: `answers.sqlite` in it, mode 0600: a row for
every question that was settled, keyed by the SHA-256 of its text, prompt, model, parameters and
schema (not of the address: one model behind two addresses is one model). The idea: an answer is
committed in the moment in which it arrives, before anything counts it, so that a run that is killed
pays nothing twice. SQLite in WAL mode takes a commit in microseconds, and what it took survives the
process; at most a second's worth is lost when the power goes. A file that is closed is one plain
file again, which processes of other machines may read.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any

from ingest.llm_prompt import Question
from study.errors import UserError, naming
from study.llm_sections import Llm
from study.private import FILE_MODE, private_folder

FILE = "answers.sqlite"
CHECKPOINT_S = 1.0
"""Seconds between moments in which all that was committed is forced to the disk."""
WAIT_S = 60.0
"""Seconds that a writer waits for another process."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key BLOB PRIMARY KEY,
    answer TEXT,          -- a JSON object; null for a failure
    failure TEXT NOT NULL,
    tokens_in INTEGER NOT NULL,
    tokens_out INTEGER NOT NULL,
    model TEXT NOT NULL,
    prompt TEXT NOT NULL,
    run TEXT NOT NULL     -- which run or batch settled it
)
"""


class Failure(StrEnum):
    """Why a question has no answer though it was asked."""

    REFUSED = "REFUSED"
    """The model or a content filter declined."""
    MALFORMED = "MALFORMED"
    """Twice no JSON object of the schema."""
    TRUNCATED = "TRUNCATED"
    """The answer was longer than max_output_tokens."""
    TOO_LONG = "TOO_LONG"
    """The text does not fit the model's context."""


@dataclass(frozen=True)
class Settled:
    """What became of a question: an answer or a failure, and the tokens that it took."""

    answer: dict[str, Any] | None
    failure: Failure | None
    tokens_in: int = 0
    tokens_out: int = 0
    run: str = ""


def key_of(question: Question, llm: Llm) -> bytes:
    """What an answer depends on."""
    parameters = {"temperature": llm.temperature, "max_output_tokens": llm.max_output_tokens}
    whole = [question.text, question.prompt.digest, llm.model, parameters]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).digest()


class Cache:
    """The answers of a folder. Several processes of one machine may have it open; with `read_only`
    of several machines, while none writes."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.file = folder / FILE
        self._read_only = read_only
        self._forced = time.monotonic()
        if not read_only:
            private_folder(folder)
            os.close(os.open(self.file, os.O_RDWR | os.O_CREAT, FILE_MODE))
        mode = "ro" if read_only else "rw"
        try:
            self._base = sqlite3.connect(
                f"{self.file.absolute().as_uri()}?mode={mode}",
                uri=True,
                timeout=WAIT_S,
                isolation_level=None,
                check_same_thread=False,
            )
            self._base.execute("PRAGMA temp_store = FILE")
            if not read_only:
                self._base.execute("PRAGMA journal_mode = WAL")
                self._base.execute("PRAGMA synchronous = NORMAL")
                self._base.execute(SCHEMA)
            self._base.execute("SELECT key, run FROM answers LIMIT 1").fetchone()
        except sqlite3.Error as error:
            raise UserError(
                f"{self.file} cannot be opened as the answers of language models ({error}); "
                "where it is damaged, move it away: what is in it is then asked again"
            ) from None

    def __enter__(self) -> Cache:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave one plain file, unless another process has it open."""
        if not self._read_only:
            try:
                self._base.execute("PRAGMA busy_timeout = 0")
                self._base.execute("PRAGMA journal_mode = DELETE")
            except sqlite3.OperationalError:  # another process has it open and will do it
                pass
        self._base.close()

    def get(self, key: bytes) -> Settled | None:
        row = self._base.execute(
            "SELECT answer, failure, tokens_in, tokens_out, run FROM answers WHERE key = ?", (key,)
        ).fetchone()
        if row is None:
            return None
        answer, failure, tokens_in, tokens_out, run = row
        return Settled(
            json.loads(answer) if answer is not None else None,
            Failure(failure) if failure else None,
            tokens_in,
            tokens_out,
            run,
        )

    def put(self, key: bytes, settled: Settled, model: str, prompt: str) -> None:
        """Commit what became of a question. Tokens of earlier attempts at it add up."""
        self.put_all([(key, settled)], model, prompt)

    def put_all(self, rows: Iterable[tuple[bytes, Settled]], model: str, prompt: str) -> None:
        """The same for several, in one commit. An answer stays as it is; what one run settled it
        does not settle again."""
        with self._naming(), self._transaction():
            self._base.executemany(
                "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE "
                "SET answer = excluded.answer, failure = excluded.failure, run = excluded.run, "
                "tokens_in = tokens_in + excluded.tokens_in, "
                "tokens_out = tokens_out + excluded.tokens_out "
                "WHERE answers.answer IS NULL AND answers.run <> excluded.run",
                (
                    (
                        key,
                        None if settled.answer is None else json.dumps(settled.answer),
                        settled.failure or "",
                        settled.tokens_in,
                        settled.tokens_out,
                        model,
                        prompt,
                        settled.run,
                    )
                    for key, settled in rows
                ),
            )
        if time.monotonic() - self._forced > CHECKPOINT_S:
            with self._naming():
                self._base.execute("PRAGMA wal_checkpoint(PASSIVE)")
            self._forced = time.monotonic()

    def __len__(self) -> int:
        return int(self._base.execute("SELECT count(*) FROM answers").fetchone()[0])

    def keys(self) -> Iterator[bytes]:
        """Of all that is settled."""
        return (key for (key,) in self._base.execute("SELECT key FROM answers"))

    @contextmanager
    def marks(self) -> Iterator[Marks]:
        """A set of keys on disk, for as long as the block: a million do not fit in flat memory."""
        name = f"marks_{time.monotonic_ns()}"
        self._base.execute(f"CREATE TEMP TABLE {name} (key BLOB PRIMARY KEY) WITHOUT ROWID")
        try:
            yield Marks(self._base, name)
        finally:
            self._base.execute(f"DROP TABLE {name}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._base.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._base.in_transaction:  # SQLite may have ended it
                self._base.execute("ROLLBACK")
            raise
        self._base.execute("COMMIT")

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """A full disk as the system's own error, with the file's name."""
        try:
            with naming(self.file):
                yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname == "SQLITE_FULL":
                raise OSError(28, "No space left on device", str(self.file)) from None
            raise


class Marks:
    """Keys that were seen."""

    def __init__(self, base: sqlite3.Connection, name: str) -> None:
        self._base, self._name = base, name

    def add(self, key: bytes) -> bool:
        """Whether the key is new."""
        done = self._base.execute(f"INSERT OR IGNORE INTO {self._name} VALUES (?)", (key,))
        return done.rowcount == 1

    def __contains__(self, key: bytes) -> bool:
        found = self._base.execute(f"SELECT 1 FROM {self._name} WHERE key = ?", (key,))
        return found.fetchone() is not None
