"""`train predict`: lets a trained AS-GCN predict how people move on, and writes the poses down."""

from __future__ import annotations

from pathlib import Path

import click

from nas_skeleton import cli


@click.command(short_help="Future poses by a trained AS-GCN, written to a file.")
@click.argument("run_name", metavar="RUN")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="NumPy archive to write.  [default: RUN-poses.npz]",
)
@click.option(
    "--split",
    type=click.Choice(["train", "valid", "test"]),
    default="test",
    show_default=True,
    help="Whose clips.",
)
@click.option(
    "--weights",
    "which",
    type=click.Choice(["last", "best"]),
    default="last",
    show_default=True,
    help="Those after the last epoch, or after the best one on validation clips.",
)
@cli.device_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def predict(
    run_name: str, output: Path | None, split: str, which: str, device: str, as_json: bool
) -> int:
    """Predict the frames at the end of every clip, which AS-GCN was not shown.

    RUN is a finished run of `train --model asgcn`. The archive has arrays `ids`, `last` (N, C, V,
    M), the last pose that was seen, `predicted` and `true` (N, C, F, V, M): F frames of V joints of
    M bodies, in the data's unit, about the origin of the network's input.
    """
    import numpy as np

    from nas_skeleton.commands.progress import open_dataset
    from nas_skeleton.errors import InputError
    from nas_skeleton.results.run import open_run
    from nas_skeleton.results.schema import DONE
    from nas_skeleton.scheduling.means import choose_means
    from nas_skeleton.scheduling.worker import open_workplace
    from nas_skeleton.spaces import load_any_space
    from nas_skeleton.training.candidates import Problem
    from nas_skeleton.training.prediction import predict as predicted_from
    from nas_skeleton.training.train import read_weights

    run = open_run(run_name)
    arguments = run.arguments
    rows = run.rows(["key", "arch_index", "status"])
    rows = rows[rows["status"] == DONE]
    if len(rows) != 1:
        raise InputError(
            f"run {run_name!r} has {len(rows)} finished trainings: give a run of `train --model "
            "asgcn`, which has one"
        )
    key, index = str(rows["key"].iloc[0]), int(rows["arch_index"].iloc[0])
    weights, epoch = read_weights(run.weights_path(key, which), key)
    space = load_any_space(arguments.space, arguments.modality)
    data = open_dataset(arguments.dataset)
    place = open_workplace(run, space, data, choose_means(device, "1", "fast").device)  # type: ignore[arg-type]
    if split not in place.task.splits:
        raise InputError(f"protocol {arguments.protocol!r} has no {split} clips: choose --split")
    ids = place.task.splits[split]
    problem = Problem(space.card, space.card.recipe(arguments.recipe), place.task)
    found = predicted_from(problem, space.architecture(index), weights, ids, data.axes)
    path = output or Path(f"{run_name}-poses.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                ids=np.array([data.ids[place_of] for place_of in ids.tolist()]),
                last=found.last,
                predicted=found.predicted,
                true=found.true,
            )
    except OSError as error:
        raise InputError(f"-o {path}: cannot be written ({error.strerror})") from None
    facts = {
        "run": run_name,
        "split": split,
        "epoch": epoch,
        "clips": len(ids),
        "frames": found.true.shape[2],
        "mean_joint_error": found.error(),
        "mean_joint_error_of_standing_still": found.error_of_standing_still(),
        "file": str(path),
    }
    if as_json:
        cli.print_json(facts)
        return cli.COMPLETE
    click.echo(
        f"{len(ids)} {split} clips, the last {facts['frames']} frames of each, weights of epoch "
        f"{epoch}:\nmean distance between a joint and its prediction {found.error():.4f}, with the "
        f"last pose standing still {found.error_of_standing_still():.4f} (in the data's unit)\n"
        f"written to {path}"
    )
    return cli.COMPLETE
