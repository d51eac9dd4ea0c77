"""`search --on TABLE`: one search, answered by a finished table in milliseconds."""

from __future__ import annotations

import click

from nas_skeleton import cli

SHOWN = 15  # improvements


def replay_search(
    source: str,
    strategy: str,
    *,
    trials: int | None,
    seeds: list[int],
    parallel: int | None,
    as_many: int,
) -> int:
    """Search on the table `source` and print what was found, improvement by improvement.

    Args:
        source: see `published.find.find_search_table`.
        strategy: its name.
        trials: budget in whole trainings; None: as many as there are architectures.
        seeds: the first one is the strategy's. One alone: the trainings with that seed are seen,
            if the table has it, else those with its first. Several: the table's, and means are
            seen.
        parallel: proposals under way, on as many simulated workers.
        as_many: improvements to print at most.
    """
    import numpy as np
    from tabulate import tabulate

    from nas_skeleton.analysis.replay import Terms, replay
    from nas_skeleton.errors import InputError
    from nas_skeleton.published.find import find_search_table

    table = find_search_table(source)
    seed = seeds[0]
    if len(seeds) > 1 and set(seeds) != set(table.seeds):
        known = ",".join(map(str, table.seeds))
        raise InputError(f"--seeds: the trainings of this table have {known}: give these, or one")
    at = None if len(seeds) > 1 else table.seeds.index(seed) if seed in table.seeds else 0
    trained = "all seeds" if at is None else f"seed {table.seeds[at]}"
    together = parallel or 1
    terms = Terms(trials or len(table), together, together)
    trace = replay(strategy, table.without_test(), terms, seed=seed, training_seed=at)
    click.echo(
        f"{table.title}\n{strategy}, seed {seed}, on the trainings with {trained}: "
        f"{trace.spent[-1]:.7g} trainings"
        + (f", {trace.seconds[-1]:,.0f} simulated seconds" if table.has_seconds else "")
        + "\n"
    )
    better = np.flatnonzero(np.diff(trace.incumbent, prepend=-1))
    shown = better[-as_many:]
    rows = [
        [
            f"{trace.spent[i]:.7g}",
            *([f"{trace.seconds[i]:,.0f}"] if table.has_seconds else []),
            f"#{trace.incumbent[i]}",
            table.space.arch_string(int(trace.incumbent[i])),
            f"{100 * trace.valid[i]:.2f}",
            f"{100 * table.mean_test[trace.incumbent[i]]:.2f}",
        ]
        for i in shown
    ]
    if len(shown) < len(better):
        click.echo(
            f"the last {len(shown)} of {len(better)} times that the search changed its mind:"
        )
    header = ["after", *(["seconds"] if table.has_seconds else []), "index", "architecture"]
    header += ["valid % seen", "mean test %"]
    align = ("right", *(["right"] if table.has_seconds else []), "right", "left", "right", "right")
    click.echo(tabulate(rows, header, colalign=align, disable_numparse=True))
    best = table.mean_test.max()
    luck = ", luck of its one seed included" if len(table.seeds) == 1 else ""
    regret = 100 * (best - table.mean_test[trace.incumbent[-1]])
    click.echo(
        f"\nTest regret {regret:.2f} points: the best of the table has {100 * best:.2f} %{luck}. "
        "Test accuracy was looked up afterwards; the search never saw it."
        if not table.chooses_by_test
        else f"\nRegret {regret:.2f} points: the best of the table has {100 * best:.2f} %."
    )
    for remark in table.remarks:
        click.echo(f"Note: {remark}.")
    return cli.COMPLETE
