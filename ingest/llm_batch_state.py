"""The state of batches on disk: requests as JSON lines, and how far each batch is.

In: questions; ids that an endpoint gave. Out: in FOLDER/batches/SCOPE, for each batch, NAME.json
(one atomic file that says which step is done) and NAME.ATTEMPT.jsonl (the requests). A scope is a
model with its parameters and a prompt. The name is drawn at random and written down before anything
is sent; file and batch carry it at the endpoint, where they are found again after a kill in the
wrong moment.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal

from ingest.llm_prompt import Prompt, Question
from ingest.llm_request import Dialect, body
from study.errors import UserError
from study.llm_sections import Llm
from study.private import private_folder, replacing, write_text

FOLDER = "batches"
MAX_BYTES = 200_000_000
"""Of a batch's input file: the limit of OpenAI's Batch API is 200 MB, and 50,000 requests."""
ENDPOINT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
DIGITS = 32

Step = Literal["written", "uploaded", "sent", "stored"]


@dataclass(frozen=True)
class State:
    """How far a batch is. written: its requests are in a file; uploaded: the endpoint has that
    file, and perhaps the batch; sent: the batch has an id; stored: its results are in the cache,
    and its files may be gone."""

    name: str
    base_url: str
    attempt: int = 1
    step: Step = "written"
    requests: int = 0
    cost: float = 0.0
    """Estimated."""
    input_file_id: str = ""
    batch_id: str = ""
    leftovers: tuple[str, ...] = ()
    """Files at the endpoint that earlier attempts no longer need."""

    @property
    def title(self) -> str:
        """Its name at the endpoint."""
        return f"dicom2clip-{self.name}-{self.attempt}"

    @property
    def is_out(self) -> bool:
        """Whether the endpoint may be at work on it."""
        return self.step in ("uploaded", "sent")

    def next_attempt(self, requests: int, leftovers: tuple[str, ...]) -> State:
        """For the requests that came back without a result."""
        return replace(
            self,
            attempt=self.attempt + 1,
            step="written",
            requests=requests,
            input_file_id="",
            batch_id="",
            leftovers=leftovers,
        )


def scope(folder: Path, prompt: Prompt, llm: Llm) -> Path:
    """Where the batches of a prompt and a model are."""
    whole = json.dumps([prompt.digest, llm.model, llm.temperature, llm.max_output_tokens])
    return folder / FOLDER / hashlib.sha256(whole.encode()).hexdigest()[:DIGITS]


def save(place: Path, state: State) -> State:
    """Write a state, whole or not at all; the same."""
    write_text(place / f"{state.name}.json", json.dumps(asdict(state), indent=1))
    return state


def load_all(place: Path) -> list[State]:
    """States of an earlier run, in the order of names. Raises UserError for one that is damaged."""
    found = []
    for file in sorted(place.glob("*.json")):
        try:
            fields = json.loads(file.read_text())
            found.append(State(**{**fields, "leftovers": tuple(fields["leftovers"])}))
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"{file} is damaged ({error}); its batch may still be at the endpoint: look there, "
                "then remove the file"
            ) from None
    return found


def refuse_waiting(folder: Path, prompt: Prompt, llm: Llm) -> None:
    """Raise UserError where batches are out: asked one by one, their texts would be paid twice."""
    out = [state for state in load_all(scope(folder, prompt, llm)) if state.is_out]
    if out:
        raise UserError(
            f"{len(out)} batches of {llm.model} are still at {out[0].base_url}: run once more with "
            "speed.batch: true, which takes what has come"
        )


def requests_file(place: Path, state: State) -> Path:
    return place / f"{state.name}.{state.attempt}.jsonl"


def line_of(key: bytes, question: Question, llm: Llm, dialect: Dialect) -> bytes:
    """A request of a batch."""
    fields = {"custom_id": key.hex(), "method": "POST", "url": ENDPOINT}
    return json.dumps({**fields, "body": body(question, llm, dialect)}).encode() + b"\n"


def lines_of(file: Path) -> Iterator[tuple[bytes, bytes]]:
    """Key and request of each line."""
    with file.open("rb") as lines:
        for line in lines:
            yield bytes.fromhex(json.loads(line)["custom_id"]), line


class Requests:
    """Requests gathered into files of a size that a batch may have."""

    def __init__(self, place: Path, llm: Llm) -> None:
        private_folder(place.parent)
        private_folder(place)
        self._place, self._llm = place, llm
        self._gathered = place / "gathered.jsonl"
        self._stream: BinaryIO | None = None
        self._start()

    def _start(self) -> None:
        self._requests = self._bytes = 0
        self._cost = 0.0

    def add(self, key: bytes, question: Question, dialect: Dialect, cost: float) -> State | None:
        """Take one more; the state of a batch that is full without it."""
        line = line_of(key, question, self._llm, dialect)
        full = (
            self._requests == self._llm.speed.batch_requests or self._bytes + len(line) > MAX_BYTES
        )
        state = self.close() if full else None
        if self._stream is None:
            self._gathered.unlink(missing_ok=True)
            self._gathered.touch(mode=0o600)
            self._stream = self._gathered.open("ab")
        self._stream.write(line)
        self._requests += 1
        self._bytes += len(line)
        self._cost += cost
        return state

    def close(self) -> State | None:
        """The state of the last batch, if anything is left for it."""
        if self._stream is None:
            return None
        self._stream.close()
        self._stream = None
        state = State(
            uuid.uuid4().hex,
            self._llm.base_url,
            requests=self._requests,
            cost=self._cost,
        )
        self._start()
        self._gathered.replace(requests_file(self._place, state))
        return save(self._place, state)


def write_rest(place: Path, state: State, rest: State, wanted: Callable[[bytes], bool]) -> None:
    """The requests of `state` whose keys are `wanted`, as those of `rest`."""
    with replacing(requests_file(place, rest)) as stream:
        for key, line in lines_of(requests_file(place, state)):
            if wanted(key):
                stream.write(line)


def forget(place: Path, state: State) -> None:
    """Remove all that is on disk of a batch."""
    for file in place.glob(f"{state.name}.*"):
        if file.suffix != ".json":
            file.unlink()
    (place / f"{state.name}.json").unlink(missing_ok=True)
