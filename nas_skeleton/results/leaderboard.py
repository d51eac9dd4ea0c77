"""The leaderboard: architectures ranked by validation accuracy, with the noise beside every number.

Selection never sees test clips: test accuracy is printed, and decides nothing, not even ties.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from nas_skeleton.results import schema
from nas_skeleton.results.copies import table_rows
from nas_skeleton.results.reliability import Reliability, reliability
from nas_skeleton.results.run import Run
from nas_skeleton.spaces import Space


@dataclass(frozen=True)
class Leaderboard:
    """Architectures, best first.

    `table` has one row per architecture: rank, arch_index, arch_str, seeds (how many), valid and
    test (mean final top-1 over seeds, in [0, 1]), valid_sd and test_sd (standard deviation over
    seeds; missing with one seed), params, macs, train_time_s (mean). Without a validation set,
    `ranked_by` is None and the rows are in index order: nothing may be chosen by test accuracy.
    `reliability` tells, for "valid" and "test", how much of the differences is signal; a split is
    absent where there are too few trainings to tell.
    """

    table: pd.DataFrame
    ranked_by: str | None
    valid_clips: int
    test_clips: int
    max_seeds: int
    reliability: dict[str, Reliability]

    def standard_error(self, share: float, clips: int) -> float:
        """Binomial standard error of an accuracy `share` measured once on `clips` clips."""
        return math.sqrt(share * (1 - share) / clips)

    def ties_with_best(self) -> int:
        """How many architectures lie within one standard error of the best, itself included.

        The noise of a difference of two means: their standard deviation over seeds (pooled) or,
        with one seed, the binomial standard error, times the square root of two.
        """
        if self.ranked_by is None or self.table.empty:
            return 0
        best = self.table.iloc[0]
        if self.max_seeds > 1:
            noise = math.sqrt((self.table["valid_sd"] ** 2).mean() / best["seeds"])
        else:
            noise = self.standard_error(best["valid"], self.valid_clips)
        return int((self.table["valid"] >= best["valid"] - math.sqrt(2) * noise).sum())


def run_leaderboard(run: Run, space: Space) -> Leaderboard:
    """The leaderboard of a run, copied rows included."""
    splits = run.data.splits
    return build_leaderboard(
        table_rows(run, space),
        valid_clips=len(splits["valid"].ids),
        test_clips=len(splits["test"].ids),
    )


def build_leaderboard(rows: pd.DataFrame, *, valid_clips: int, test_clips: int) -> Leaderboard:
    """Rank the finished trainings in `rows` (see `schema.COLUMNS`).

    Ties in validation accuracy go to fewer MACs, then to the lower index.
    """
    done = rows[rows["status"].isin([schema.DONE, schema.COPIED])]
    by_arch = done.groupby("arch_index")
    table = by_arch.agg(
        arch_str=("arch_str", "first"),
        seeds=("seed", "nunique"),
        valid=("final_valid_top1", "mean"),
        valid_sd=("final_valid_top1", "std"),
        test=("final_test_top1", "mean"),
        test_sd=("final_test_top1", "std"),
        params=("params", "first"),
        macs=("macs", "first"),
        train_time_s=("train_time_s", "mean"),
    ).reset_index()
    ranked_by = "validation" if valid_clips else None
    if ranked_by:
        table = table.sort_values(["valid", "macs", "arch_index"], ascending=[False, True, True])
    table.insert(0, "rank", range(1, len(table) + 1))
    trained = rows[rows["status"] == schema.DONE]
    found = {split: reliability(trained, f"final_{split}_top1") for split in ("valid", "test")}
    return Leaderboard(
        table.reset_index(drop=True),
        ranked_by,
        valid_clips,
        test_clips,
        max_seeds=int(table["seeds"].max()) if len(table) else 0,
        reliability={split: value for split, value in found.items() if value},
    )


def format_leaderboard(board: Leaderboard, top: int = 10) -> str:
    """The first `top` rows as text, with what was ranked on which split and how noisy it is."""
    from tabulate import tabulate

    if board.table.empty:
        return "No finished training yet."
    lines = [_headline(board, top)]
    header = ["rank", "index", "architecture"]
    header += ["valid %"] * bool(board.valid_clips) + ["test %", "params", "MACs", "time"]
    body = []
    for row in board.table.head(top).to_dict("records"):
        cells = [row["rank"] if board.ranked_by else "-", row["arch_index"], row["arch_str"]]
        if board.valid_clips:
            cells.append(_percent(row["valid"], row["valid_sd"], board.valid_clips, board))
        cells.append(_percent(row["test"], row["test_sd"], board.test_clips, board))
        cells += [_short(row["params"]), _short(row["macs"]), f"{row['train_time_s']:.1f} s"]
        body.append(cells)
    align = ("right", "right", "left", *["right"] * (len(header) - 3))
    lines.append(tabulate(body, header, colalign=align, disable_numparse=True))
    lines += _footnotes(board)
    return "\n".join(lines)


def _headline(board: Leaderboard, top: int) -> str:
    shown = min(top, len(board.table))
    of = f"Best {shown} of {len(board.table)} architectures"
    if board.ranked_by is None:
        return f"{of[5:]}, not ranked: this protocol has no validation set to choose by."
    seeds = f"{board.max_seeds} seed" + "s" * (board.max_seeds > 1)
    return f"{of} by validation top-1 ({board.valid_clips} clips), {seeds}, last epoch:"


def _footnotes(board: Leaderboard) -> list[str]:
    if board.max_seeds > 1:
        plus_minus = "± is the standard deviation over seeds."
    else:
        plus_minus = (
            "± is the binomial standard error over clips; the noise over seeds is unknown with "
            "one seed (--seeds 777,888,999)."
        )
    notes = [plus_minus + " Test accuracy is shown, never used to rank."]
    if board.reliability:
        shares = ", ".join(
            f"{split} {value.single:.2f} (mean over seeds {value.mean:.2f})"
            for split, value in board.reliability.items()
        )
        count = next(iter(board.reliability.values())).architectures
        notes.append(
            "Share of the variance that belongs to the architecture and not to the seed (ICC), "
            f"from {count} architectures: {shares}."
        )
    ties = board.ties_with_best()
    if ties > 1:
        notes.append(
            f"{ties} of {len(board.table)} architectures lie within one standard error of the best:"
            " their order is not evidence."
        )
    return notes


def _percent(mean: float, sd: float, clips: int, board: Leaderboard) -> str:
    spread = sd if not math.isnan(sd) else board.standard_error(mean, clips)
    return f"{100 * mean:.1f} ± {100 * spread:.1f}"


def _short(count: float) -> str:
    """12345 as "12.3 k", 1234567 as "1.23 M"."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return str(int(count))
