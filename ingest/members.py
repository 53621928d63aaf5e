"""What an archive holds: names and byte ranges, nothing unpacked to a path.

In: what `ingest.tar_members` and `ingest.zip_members` find. Out: `Member` and `Listing`. The idea:
a member's name is text for tables, cut and made unique there, and never becomes a path on disk.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from study.records import Reason, Rejection

MAX_MEMBERS = 2_000_000
"""Of one archive. A listing is held in memory, and entries of a bomb cost its maker nothing."""
MAX_NAME = 1024
"""Characters of a member's name that are kept."""


class Member(NamedTuple):
    """An entry of an archive that is, or should be, a file."""

    name: str
    at: int = 0
    """Offset of its bytes."""
    length: int = 0
    in_spool: bool = False
    """Whether the bytes are in what was unpacked, not in the archive itself."""
    verdict: Rejection | None = None
    """Why it is no file that can be read: a link, encrypted, cut off."""


class Listing(NamedTuple):
    """The members of an archive in their order, and what is wrong with it as a whole."""

    members: tuple[Member, ...]
    broken: Rejection | None = None


class TooLargeError(Exception):
    """An archive unpacks to more, or has more members, than is allowed."""


class Collector:
    """Takes members as they are found; names come out short enough and unlike each other."""

    def __init__(self) -> None:
        self._members: list[Member] = []
        self._names = Names()

    def add(self, member: Member) -> None:
        """Raises TooLargeError beyond MAX_MEMBERS."""
        if len(self._members) >= MAX_MEMBERS:
            raise TooLargeError(f"more than {MAX_MEMBERS} members")
        name = self._names.distinct(escaped(member.name)[:MAX_NAME] or "(no name)")
        self._members.append(member._replace(name=name))

    def listing(self, broken: Rejection | None = None) -> Listing:
        """What was found; an archive without a single member is said to be empty."""
        if broken is None and not self._members:
            broken = Rejection(Reason.NOT_DICOM, "an empty archive")
        return Listing(tuple(self._members), broken)


class Names:
    """Makes names unlike each other: the second of a name is "NAME #2", the third "NAME #3"."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = dict.fromkeys(taken, 1)

    def distinct(self, name: str) -> str:
        """The name, or the first numbered form of it that was not given out yet.

        >>> names = Names()
        >>> [names.distinct(n) for n in ("a", "a #2", "a", "a")]
        ['a', 'a #2', 'a #3', 'a #4']
        """
        number = self._taken.get(name, 0)
        candidate = name
        while candidate in self._taken:
            number += 1
            candidate = f"{name} #{number}"
        self._taken[name] = max(number, 1)
        self._taken.setdefault(candidate, 1)
        return candidate


def escaped(name: str) -> str:
    """The name itself, or, where it is not UTF-8 and fits no table, its bytes spelled out."""
    return name.encode("utf-8", "backslashreplace").decode()
