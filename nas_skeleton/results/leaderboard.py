"""The leaderboard: architectures ranked by validation accuracy, with the noise beside every number.

Selection never sees test clips: test accuracy is printed, and decides nothing, not even ties.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pandas as pd

from nas_skeleton.results import schema
from nas_skeleton.results.intraclass import Reliability, reliability
from nas_skeleton.results.run import Run
from nas_skeleton.training.result import ANALYTIC

FURTHER = {  # columns of the table that are shown and do not rank
    f"{split}_{metric}": f"final_{split}_{metric}"
    for split in ("valid", "test")
    for metric in ("top5", "mean_class")
}
NEEDED = (  # all that is read of a run
    *("arch_index", "arch_str", "seed", "status", "engine", "params", "macs"),
    *("train_time_s", "final_valid_top1", "final_test_top1", *FURTHER.values()),
)


@dataclass(frozen=True)
class Leaderboard:
    """Architectures, best first.

    `table` has one row per trained architecture: rank, arch_index, arch_str, seeds (how many are
    finished), valid and test (mean final top-1 over seeds, in [0, 1]), valid_sd and test_sd
    (standard deviation over seeds; missing with one seed), params, macs, train_time_s (mean), and
    valid_top5, valid_mean_class, test_top5, test_mean_class (means as valid and test).
    Architectures with fewer finished seeds than others come last: a mean over the seeds that did
    not diverge is no fair one. Without a validation set, `ranked_by` is None and the rows are in
    index order: nothing may be chosen by test accuracy. `reliability` tells, for "valid" and
    "test", how much of the differences is signal; a split is absent where there are too few
    trainings to tell.
    """

    table: pd.DataFrame
    ranked_by: str | None
    valid_clips: int
    test_clips: int
    max_seeds: int
    reliability: dict[str, Reliability]
    engines: dict[str, int]
    one_per_class: bool = False

    def noise(self, split: str) -> list[float | None]:
        """What to print behind an accuracy of each row, as a share.

        With several seeds the standard deviation over them, None where only one is finished; with
        one seed the binomial standard error over clips (Wilson's, which is not zero at 100 %).
        """
        if self.max_seeds > 1:
            return [None if math.isnan(sd) else sd for sd in self.table[f"{split}_sd"]]
        clips = self.valid_clips if split == "valid" else self.test_clips
        if not clips:
            return [None] * len(self.table)
        return [wilson_error(share, clips) for share in self.table[split]]

    def near_best(self) -> int:
        """How many architectures are within two standard errors of the best, itself included.

        The error of a difference of two means: the variance over seeds (pooled over architectures,
        divided by the number of seeds) plus the binomial variance over clips, times two. Not
        corrected for having picked the best of many, nor for all validation clips coming from few
        people: at least so many cannot be told apart.
        """
        if self.ranked_by is None or self.table.empty:
            return 0
        best = self.table.iloc[0]
        over_clips = wilson_error(best["valid"], self.valid_clips) ** 2
        over_seeds = (self.table["valid_sd"] ** 2).mean() / best["seeds"]
        variance = over_clips + (0.0 if math.isnan(over_seeds) else over_seeds)
        return int((self.table["valid"] >= best["valid"] - 2 * math.sqrt(2 * variance)).sum())


def wilson_error(share: float, clips: int) -> float:
    """Standard error of an accuracy `share` on `clips` clips: Wilson's half interval at z = 1."""
    return math.sqrt(share * (1 - share) / clips + 1 / (4 * clips**2)) / (1 + 1 / clips)


def run_leaderboard(run: Run, rows: pd.DataFrame | None = None) -> Leaderboard:
    """The leaderboard of a run: architectures that were trained, not copies of them.

    `rows` are the run's, with at least the columns `NEEDED`; None reads them.
    """
    splits = run.data.splits
    board = build_leaderboard(
        run.rows(NEEDED) if rows is None else rows,
        valid_clips=len(splits["valid"].ids),
        test_clips=len(splits["test"].ids),
    )
    return replace(board, one_per_class=run.arguments.one_per_class)


def build_leaderboard(rows: pd.DataFrame, *, valid_clips: int, test_clips: int) -> Leaderboard:
    """Rank the finished trainings in `rows`, which have the columns `NEEDED`.

    Ties in validation accuracy go to fewer MACs, then to the lower index.
    """
    done = rows[rows["status"] == schema.DONE].astype(dict.fromkeys(FURTHER.values(), float))
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
        **{name: (column, "mean") for name, column in FURTHER.items()},
    ).reset_index()
    ranked_by = "validation" if valid_clips else None
    if ranked_by:
        # Means of other seeds that are equal differ in their last digit: they are ties too.
        table = (
            table.assign(tied=table["valid"].round(12))
            .sort_values(
                ["seeds", "tied", "macs", "arch_index"], ascending=[False, False, True, True]
            )
            .drop(columns="tied")
        )
    table.insert(0, "rank", range(1, len(table) + 1))
    found = {split: reliability(done, f"final_{split}_top1") for split in ("valid", "test")}
    return Leaderboard(
        table.reset_index(drop=True),
        ranked_by,
        valid_clips,
        test_clips,
        max_seeds=int(table["seeds"].max()) if len(table) else 0,
        reliability={split: value for split, value in found.items() if value},
        engines={str(engine): n for engine, n in done["engine"].value_counts().items()},
    )


def format_leaderboard(board: Leaderboard, top: int = 10) -> str:
    """The first `top` rows as text, with what was ranked on which split and how noisy it is."""
    from tabulate import tabulate

    if board.table.empty:
        return "No finished training yet."
    lines = [_headline(board, top)]
    several = board.max_seeds > 1
    header = ["rank", "index", "architecture"] + ["seeds"] * several
    header += ["valid %"] * bool(board.valid_clips) + ["test %", "params", "MACs", "time"]
    shown = board.table.head(top).to_dict("records")
    body = []
    for row, valid, test in zip(shown, board.noise("valid"), board.noise("test"), strict=False):
        cells = [row["rank"] if board.ranked_by else "-", row["arch_index"], row["arch_str"]]
        cells += [row["seeds"]] * several
        if board.valid_clips:
            cells.append(_percent(row["valid"], valid))
        cells.append(_percent(row["test"], test))
        cells += [
            short_count(row["params"]),
            short_count(row["macs"]),
            f"{row['train_time_s']:.1f} s",
        ]
        body.append(cells)
    align = ("right", "right", "left", *["right"] * (len(header) - 3))
    lines.append(tabulate(body, header, colalign=align, disable_numparse=True))
    lines += footnotes(board)
    return "\n".join(lines)


def _headline(board: Leaderboard, top: int) -> str:
    shown = min(top, len(board.table))
    of = f"Best {shown} of {len(board.table)} architectures"
    if board.ranked_by is None:
        return f"{of[5:]}, not ranked: this protocol has no validation set to choose by."
    seeds = f"{board.max_seeds} seed" + "s" * (board.max_seeds > 1)
    return f"{of} by validation top-1 ({board.valid_clips} clips), {seeds}, last epoch:"


def footnotes(board: Leaderboard) -> list[str]:
    """What whoever reads the numbers must know, in sentences."""
    if board.max_seeds > 1:
        notes = ["± is the standard deviation over seeds."]
    else:
        notes = [
            "± is the binomial standard error over clips. Another seed moves an accuracy by more; "
            "by how much is unknown with one: add some with --seeds 777,888,999."
        ]
    notes[0] += " Test accuracy is shown, never used to rank."
    if board.one_per_class:
        notes.append("Each row stands for its functional class; `runs collect` writes the copies.")
    if board.table["seeds"].min() < board.max_seeds:
        notes.append("Architectures with fewer finished seeds than others are ranked behind them.")
    if board.max_seeds > 1 and not board.reliability:
        notes.append("Too few architectures with several seeds to tell signal from noise (ICC).")
    if board.reliability:
        shares = ", ".join(
            f"{split} {value.single:.2f} [{value.low:.2f}, {value.high:.2f}]"
            for split, value in board.reliability.items()
        )
        found = next(iter(board.reliability.values()))
        notes.append(
            "Share of the variance that belongs to the architecture, not the seed (ICC of one "
            f"training, {found.architectures} architectures x {found.seeds} seeds, with its 95 % "
            f"interval): {shares}."
        )
    if len(board.engines.keys() - {ANALYTIC}) > 1:
        counts = ", ".join(f"{engine} {count}" for engine, count in board.engines.items())
        notes.append(
            f"Several engines trained these ({counts}): their rounding differs, which acts like "
            "another seed."
        )
    notes += _further(board)
    near = board.near_best()
    if near > 1:
        notes.append(
            f"At least {near} of {len(board.table)} architectures cannot be told apart from the "
            "best (within two standard errors, not counting that the best was picked)."
        )
    return notes


def _further(board: Leaderboard) -> list[str]:
    """Top-5 and mean-class accuracy of the first row, where they are known."""
    first = board.table.iloc[0]
    found = [
        f"{split} top-5 {100 * first[f'{split}_top5']:.1f} %, "
        f"mean-class {100 * first[f'{split}_mean_class']:.1f} %"
        for split in ("valid", "test")
        if not math.isnan(first[f"{split}_top5"])
    ]
    return [f"#{first['arch_index']}, the first row: {'; '.join(found)}."] if found else []


def _percent(mean: float, noise: float | None) -> str:
    return f"{100 * mean:.1f} ± " + ("n/a" if noise is None else f"{100 * noise:.1f}")


def short_count(count: float) -> str:
    """12345 as "12.3 k", 1234567 as "1.23 M"."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return str(int(count))
