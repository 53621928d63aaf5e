"""Something about a dataset that is not as it should be, as a value.

In: what a check found. Out: a `Problem`, which names the file and, within a tar, the study, the
member and which part of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Part(StrEnum):
    """Which bytes of a tar."""

    HEADER = "header"
    PAYLOAD = "payload"
    PADDING = "padding"
    BETWEEN = "between members"
    END = "end of archive"


@dataclass(frozen=True)
class Problem:
    """Something that is not as it should be."""

    where: str
    """File of the dataset."""
    what: str
    key: str = ""
    """Of the study that is to blame, if one is."""
    member: str = ""
    part: Part | None = None

    def __str__(self) -> str:
        member = f"member {self.member}" if self.member else ""
        study = f"study {self.key}" if self.key else ""
        place = ", ".join(word for word in (study, member, self.part or "") if word)
        return f"{self.where}: {place}: {self.what}" if place else f"{self.where}: {self.what}"
