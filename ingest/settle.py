"""What conversion found out, put into the ledger, part by part.

In: the ledger as grouping left it (`grouped.parquet`), outcomes of shards. Out: the same part of
`ledger.parquet`, and its sums. Of a study that was made anew, the outcome of its present shard
counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from ingest import ledger, runfolder, turn
from ingest.convert import OUTCOMES, ShardOutcome
from ingest.runfolder import part_file
from study.records import Reason, Rejection

NOT_MADE = -1


@dataclass(frozen=True)
class Part:
    """Which studies of a part are made, and where."""

    part: int
    shards: np.ndarray
    """The present shard of every study of the part, in the order of keys, or NOT_MADE."""


def settle(wanted: Part, run: Path, of_turn: str = turn.NOBODY) -> ledger.LedgerSums:
    """Write a part of the ledger; a worker runs it. UserError where the job `of_turn` is over."""
    scans, studies = _outcomes(wanted, run)
    grouped = pq.read_table(part_file(run, "grouped", wanted.part))
    if scans or studies:
        rows = ledger.with_outcomes(ledger.from_table(grouped), scans, studies)
        grouped = ledger.to_table(rows)
    turn.refuse_if_over(run, of_turn)
    runfolder.write_part(run, "ledger", wanted.part, grouped)
    return ledger.sums_of(grouped)


def _outcomes(
    wanted: Part, run: Path
) -> tuple[dict[tuple[str, int], Rejection], dict[str, Reason]]:
    """Reasons by study and scan, and by study, of the studies of a part."""
    keys = pq.read_table(part_file(run, "keys", wanted.part), columns=["study_uid"])
    shard_of = dict(zip(keys["study_uid"].to_pylist(), wanted.shards.tolist(), strict=True))
    scans: dict[tuple[str, int], Rejection] = {}
    studies: dict[str, Reason] = {}
    for shard in sorted(set(shard_of.values()) - {NOT_MADE}):
        outcome = ShardOutcome.load(run / OUTCOMES, shard)
        assert outcome is not None, f"the client has seen the outcome of shard {shard}"
        for f in outcome.scans:
            if shard_of.get(f.study_uid) == shard:
                scans[(f.study_uid, f.scan)] = Rejection(f.reason, f.detail)
        studies |= {u: r for u, r in outcome.studies.items() if shard_of.get(u) == shard}
    return scans, studies
