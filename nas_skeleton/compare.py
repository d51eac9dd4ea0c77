"""`python -m nas_skeleton.compare`: reference models and searched cells side by side.

Everything is trained with one recipe, protocol and list of seeds; what is trained already is taken
as it is.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from nas_skeleton import cli
from nas_skeleton.commands.compare_recipes import recipes as compare_recipes
from nas_skeleton.commands.compare_strategies import strategies

if TYPE_CHECKING:
    from nas_skeleton.results.comparison import Entry
    from nas_skeleton.scheduling.campaign import Campaign
    from nas_skeleton.scheduling.means import Device
    from nas_skeleton.scheduling.signals import Signals
    from nas_skeleton.spaces import Cost, SearchSpace

BATCH = 32  # clips of the second latency
ANCHOR = "stgcn++"  # what searched networks are held against
SMALL = 0.1  # of its MACs: how much the best small network may have


@dataclass(frozen=True)
class _Row:
    """A network, what its A-links cost, and its latencies in ms: of one clip, and of `BATCH`."""

    entry: Entry
    links: Cost
    searched: bool
    latency_ms: float
    batch_latency_ms: float

    @property
    def macs(self) -> int:
        """Of the network and of what finds its links."""
        return self.entry.macs + self.links.macs


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    subcommand_metavar="| strategies --on TABLE | recipes RUN...",
)
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    default=("utdmhad", "nwucla"),
    show_default=True,
    help="Card in datasets/; may be given often.",
)
@click.option(
    "--recipe",
    "recipes",
    metavar="NAME|DATASET=NAME",
    multiple=True,
    default=("brief", "nwucla=brief-large"),
    show_default=True,
    help="Recipe that all cards have and that means the same in all, or that of one data set; may "
    "be given often.",
)
@click.option("--protocol", help="Protocol in the data sets' cards.  [default: their own default]")
@click.option(
    "--models",
    multiple=True,
    default=("models", "models-asgcn"),
    show_default=True,
    help="Card with reference models, of which all are trained; may be given often.",
)
@click.option(
    "--space",
    "spaces",
    multiple=True,
    default=("nb201", "nb201-graph", "nb201-asgcn"),
    show_default=True,
    help="Card with cells, of which random ones are trained; may be given often.",
)
@click.option(
    "--trials", type=click.IntRange(1), default=24, show_default=True, help="Cells of each space."
)
@click.option(
    "--best",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="How many cells of each space are shown: the best by mean validation accuracy.",
)
@click.option(
    "--seeds", default="777,888,999", show_default=True, help="Every network is trained with each."
)
@click.option(
    "--workers", default="auto", show_default=True, help="Worker processes: a number, or auto."
)
@cli.device_option
@click.option("--no-training", is_flag=True, help="Show what is finished; train nothing.")
@click.option("--markdown", is_flag=True, help="Print the table as Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.pass_context
def main(
    context: click.Context,
    datasets: tuple[str, ...],
    recipes: tuple[str, ...],
    protocol: str | None,
    models: tuple[str, ...],
    spaces: tuple[str, ...],
    trials: int,
    best: int,
    seeds: str,
    workers: str,
    device: Device,
    no_training: bool,
    markdown: bool,
    as_json: bool,
) -> int:
    """Train reference models and random cells alike; print what each costs and achieves.

    This takes hours on CPUs. Run the same command again to continue. Cells are chosen by validation
    accuracy; test accuracy is shown and chooses nothing. Each chosen cell is held against ST-GCN++,
    if that is among the models, and of each space the best with at most a tenth of its
    multiply-accumulates is shown too. Latencies are measured anew: leave the machine alone.
    `compare strategies --help` says how to compare search strategies on a finished table,
    `compare recipes --help` what the accuracies of several recipes are worth.
    """
    if context.invoked_subcommand is not None:
        for given in context.command.params:
            assert given.name is not None
            if context.get_parameter_source(given.name) is ParameterSource.COMMANDLINE:
                raise click.UsageError(
                    f"{given.opts[0]} is for networks: write `compare "
                    f"{context.invoked_subcommand}` and its own options behind it"
                )
        return cli.COMPLETE
    from nas_skeleton.commands.narration import Saying, train_with_progress
    from nas_skeleton.commands.progress import open_dataset
    from nas_skeleton.errors import InputError
    from nas_skeleton.results.comparison import check_alike
    from nas_skeleton.scheduling.means import choose_means
    from nas_skeleton.scheduling.signals import Signals
    from nas_skeleton.scheduling.start import start_campaign
    from nas_skeleton.spaces import ModelSpace, Space, load_any_space

    chosen: list[SearchSpace] = []
    for option, names, kind in (("--models", models, ModelSpace), ("--space", spaces, Space)):
        for name in names:
            chosen.append(load_any_space(name))
            if not isinstance(chosen[-1], kind):
                other = "--space" if kind is ModelSpace else "--models"
                raise click.UsageError(f"{option} {name}: this card is for {other}")
    training_seeds = cli.parse_seeds(None, seeds)
    # All that may be wrong is said before the first of hours of training.
    plan = {name: (open_dataset(name), _recipe_of(name, recipes)) for name in datasets}
    for name, (dataset, recipe) in plan.items():
        check_alike(chosen, recipe)
        if not len(dataset.split(protocol)["valid"]) and spaces:
            raise InputError(
                f"protocol {protocol or dataset.card.default_protocol!r} of {name} has no "
                "validation clips to choose a cell by: choose another --protocol"
            )

    def campaign_of(name: str, space: SearchSpace, signals: Signals) -> Campaign:
        dataset, recipe = plan[name]
        cells = isinstance(space, Space)
        return start_campaign(
            space,
            dataset,
            choose_means(device, workers, cells=cells),
            recipe=recipe,
            protocol=protocol,
            strategy="random" if cells else "exhaustive",
            seeds=training_seeds,
            trials=trials if cells else None,
            watch=Saying(signals),
            infer=not no_training,
        )

    left = 0
    rows: list[_Row] = []
    with Signals().handled() as signals:
        for name in datasets:
            every = []
            for space in chosen:
                campaign = campaign_of(name, space, signals)
                signals.check()
                every.append(campaign)
                jobs = campaign.remaining()
                if jobs and not no_training:
                    click.echo(
                        f"{campaign.run.name}: {len(jobs)} of {len(campaign.jobs)} trainings to "
                        "do, after measuring how long they take",
                        err=True,
                    )
                    train_with_progress(
                        campaign, jobs, campaign.forecast(jobs, signals.check), signals
                    )
                left += len(campaign.remaining())
            own: list[_Row] = []
            for campaign in every:  # when no worker is at work beside it
                anchors = [row.macs for row in own if row.entry.name == ANCHOR]
                own += _rows(campaign, best, SMALL * anchors[0] if anchors else None)
                signals.check()
            if own and not as_json:
                for line in _lines(own, plan[name][1], markdown=markdown):
                    click.echo(line)
            rows += own
    if not rows:
        raise InputError("nothing is finished yet: leave out --no-training")
    if as_json:
        cli.print_json({"missing": left, "rows": [_facts(row) for row in rows]})
    if left:
        click.echo(f"{left} trainings are missing or failed: see `runs list`", err=True)
    return cli.SOME_FAILED if left else cli.COMPLETE


def _recipe_of(dataset: str, recipes: tuple[str, ...]) -> str:
    """The recipe of a data set: its own, or else the last that is for all."""
    own = [text.removeprefix(f"{dataset}=") for text in recipes if text.startswith(f"{dataset}=")]
    general = [text for text in recipes if "=" not in text]
    for found in (own, general):
        if found:
            return found[-1]
    raise click.UsageError(f"--recipe: none is given for {dataset}")


def _rows(campaign: Campaign, best: int, small: float | None) -> list[_Row]:
    """All models; of cells the best, and the best of those with at most `small` MACs."""
    from nas_skeleton.results.comparison import entries
    from nas_skeleton.spaces import Space

    space, dataset = campaign.space, campaign.dataset
    searched = isinstance(space, Space)
    bodies = space.card.input.bodies(dataset.bodies)
    joints = len(dataset.layout.joints)
    links = space.link_cost(axes=dataset.channels, joints=joints, bodies=bodies)
    keys = {job.key for job in campaign.jobs}
    chosen = entries(campaign.run, keys, best if searched else None)
    if searched and small is not None:
        few = entries(campaign.run, keys, 1, small - links.macs)
        chosen += [entry for entry in few if entry not in chosen]
    rows = []
    for entry in chosen:
        one, many = (1e3 * campaign.latency(entry.arch_index, clips) for clips in (1, BATCH))
        rows.append(_Row(entry, links, searched, one, many))
    return rows


def _facts(row: _Row) -> dict[str, Any]:
    """A row for `--json`."""
    return {
        **asdict(row.entry),
        "link_params": row.links.params,
        "link_macs": row.links.macs,
        "latency_ms": row.latency_ms,
        f"latency_ms_of_{BATCH}": row.batch_latency_ms,
    }


def _lines(rows: list[_Row], recipe: str, *, markdown: bool) -> list[str]:
    """The table of one data set, the most multiply-accumulates first, and what it says."""
    from tabulate import tabulate

    from nas_skeleton.results.comparison import percent
    from nas_skeleton.results.leaderboard import short_count

    rows = sorted(rows, key=lambda row: -row.macs)
    header = ["network", "seeds", "params", "MACs", "valid %", "test %", "test %, best epoch"]
    header += ["training s", "engine", "ms, 1 clip", f"ms, {BATCH} clips"]
    body = [
        [
            _name(row),
            row.entry.seeds
            if row.entry.seeds == row.entry.planned_seeds
            else f"{row.entry.seeds} of {row.entry.planned_seeds}",
            short_count(row.entry.params),
            short_count(row.entry.macs)
            + (f" + {short_count(row.links.macs)}" if row.links.macs else ""),
            percent(row.entry.valid, row.entry.valid_sd),
            percent(row.entry.test, row.entry.test_sd),
            percent(row.entry.best_test, row.entry.best_test_sd),
            f"{row.entry.train_time_s:.3g}",
            ", ".join(row.entry.engines),
            f"{row.latency_ms:.1f}",
            f"{row.batch_latency_ms:.0f}",
        ]
        for row in rows
    ]
    align = ("left", *["right"] * (len(header) - 1))
    style = "github" if markdown else "simple"
    table = tabulate(body, header, style, colalign=align, disable_numparse=True)
    notes = [f"{_name(row)}: {row.entry.name}" for row in rows if row.searched]
    if any(row.links.macs for row in rows):
        notes.append(
            "+ MACs: of AIM's encoder, which finds the A-links of a new clip; not in parameters, "
            "training and latency."
        )
    title = f"{rows[0].entry.dataset}, recipe {recipe}, mean ± standard deviation over seeds:"
    return [title, "", table, "", *notes, "", *_verdicts(rows), ""]


def _name(row: _Row) -> str:
    entry = row.entry
    return f"{entry.space} #{entry.arch_index}" if row.searched else entry.name


def _verdicts(rows: list[_Row]) -> list[str]:
    """Searched networks against the anchor."""
    from nas_skeleton.results.comparison import against

    anchors = [row for row in rows if row.entry.name == ANCHOR]
    lines = []
    for row in rows:
        if row.searched and anchors:
            found = against(row.entry, anchors[0].entry)
            if found is None:
                lines.append(f"{_name(row)} against {ANCHOR}: some seeds are missing or failed")
                continue
            error = "" if found.error is None else f" ± {100 * found.error:.1f}"
            lines.append(
                f"{_name(row)} against {ANCHOR}: {100 * row.macs / anchors[0].macs:.1f} % of its "
                f"MACs, test {100 * found.difference:+.1f}{error} points (standard error over "
                "seeds)"
            )
    return lines


main.add_command(strategies)
main.add_command(compare_recipes)

if __name__ == "__main__":
    cli.run(main)
