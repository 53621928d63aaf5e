"""The rows of a crawl -> the volumes of every study, and a ledger row for every image.

In: all instances of a crawl. Out: `Studies`. `group` sees one study at a time; here is what belongs
to none, and the check that no image is missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ingest import ledger
from ingest.group import Grouping, group_study
from study.ingest_sections import Rules, Select
from study.records import Instance, Reason, Status


@dataclass(frozen=True)
class Studies:
    """All studies of a crawl, by StudyInstanceUID and in its order."""

    instances: Mapping[str, Sequence[Instance]]
    groupings: Mapping[str, Grouping]
    rows: list[ledger.LedgerRow]
    """Of all images, also of those without a study, in the order of path and frame."""


def group_studies(instances: Sequence[Instance], select: Select, rules: Rules) -> Studies:
    """Group every study; the ledger is checked against the crawl."""
    by_study: dict[str, list[Instance]] = defaultdict(list)
    for instance in instances:
        by_study[instance.study_uid].append(instance)
    rows = [
        ledger.row_for(i, Status.REJECTED, i.reason or Reason.MISSING_UID, i.detail)
        for i in by_study.pop("", [])
    ]
    by_study = dict(sorted(by_study.items()))
    groupings = {uid: group_study(found, select, rules) for uid, found in by_study.items()}
    rows += [row for grouping in groupings.values() for row in grouping.rows]
    ledger.check(rows, instances)
    return Studies(by_study, groupings, sorted(rows, key=lambda row: (row.path, row.frame)))
