"""Late fusion: class probabilities of finished trainings, averaged with weights.

The usual way to join joint, bone and motion streams. Nothing is trained again: the class scores
that trainings left behind are enough. Weights are given or fitted on validation clips; test clips
decide nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.errors import InputError
from nas_skeleton.results import schema
from nas_skeleton.results.run import DataFacts, Run, open_run
from nas_skeleton.results.schema import HELD_OUT
from nas_skeleton.results.scores import read_scores
from nas_skeleton.training.result import Accuracy

Floats = NDArray[np.float64]

ROUNDS, STEADY = 10_000, 1e-9  # of fitting: at most so many, and when weights move no more
LEAST = 1e-300  # a probability, so that its logarithm is finite


@dataclass(frozen=True)
class Stream:
    """One finished training.

    Attributes:
        name: as it was asked for.
        key: of the training.
        protocol: of its run.
        data: the clips of its run.
        probabilities: `(clips, classes)` for each of `HELD_OUT` that has clips; rows sum to one.
    """

    name: str
    key: str
    protocol: str
    data: DataFacts
    probabilities: dict[str, Floats]


@dataclass(frozen=True)
class Fusion:
    """Streams and what they give together.

    Attributes:
        names: of the streams.
        weights: of the streams; they sum to one.
        of_streams: accuracies of each stream alone, by split.
        fused: accuracies of all together, by split.
        classes: names.
        confusion: test clips by true class (rows) and class given by all together (columns).
    """

    names: list[str]
    weights: list[float]
    of_streams: list[dict[str, Accuracy]]
    fused: dict[str, Accuracy]
    classes: list[str]
    confusion: NDArray[np.int64]


def fuse(streams: Sequence[Stream], weights: Sequence[float] | None) -> Fusion:
    """Average the streams' probabilities.

    Args:
        streams: trained on the same data.
        weights: relative, one for each stream; None fits them on validation clips.

    Raises:
        InputError: streams of other clips, a stream that is there twice, weights that do not go
            with the streams, or none to fit on.
    """
    check_alike(streams)
    data = streams[0].data
    labels = {split: np.array(data.splits[split].labels, np.int64) for split in HELD_OUT}
    by_split = {
        split: [stream.probabilities[split] for stream in streams]
        for split in HELD_OUT
        if len(labels[split])
    }
    if weights is not None:
        shares = relative(weights, len(streams))
    elif "valid" in by_split:
        shares = fitted_weights(by_split["valid"], labels["valid"])
    else:
        raise InputError(
            f"protocol {streams[0].protocol!r} has no validation clips to fit weights on: give "
            "them, such as --weights " + ":".join("1" for _ in streams)
        )
    mixed = {split: mixture(parts, shares) for split, parts in by_split.items()}
    return Fusion(
        names=[stream.name for stream in streams],
        weights=shares.tolist(),
        of_streams=[
            {split: quality(parts[place], labels[split]) for split, parts in by_split.items()}
            for place in range(len(streams))
        ],
        fused={split: quality(values, labels[split]) for split, values in mixed.items()},
        classes=list(data.classes),
        confusion=confusion_matrix(mixed["test"], labels["test"]),
    )


def open_stream(text: str) -> Stream:
    """The training `RUN`, or `RUN:ARCH:SEED` where the run has several.

    Raises:
        InputError: no such run or training, or one without scores.
    """
    name, *choice = text.split(":")
    run = open_run(name)
    rows = run.rows(["key", "arch_index", "seed", "status"])
    rows = rows[rows["status"] == schema.DONE]
    if choice:
        if len(choice) != 2 or not all(part.isdecimal() for part in choice):
            raise InputError(f"{text!r}: give RUN or RUN:ARCH:SEED, such as {name}:6111:777")
        arch, seed = map(int, choice)
        rows = rows[(rows["arch_index"] == arch) & (rows["seed"] == seed)]
        if rows.empty:
            raise InputError(f"{text!r}: run {name!r} has no finished training of #{arch}, {seed}")
    kept = rows[[run.scores_path(key).is_file() for key in rows["key"]]]
    if kept.empty:
        raise InputError(
            f"run {name!r} has no finished training with class scores: `train` keeps them, "
            "`search` with --keep-scores, from the time on that it is given"
        )
    if len(kept) > 1:
        first = kept.iloc[0]
        raise InputError(
            f"run {name!r} has {len(kept)} trainings with class scores: say which, such as "
            f"{name}:{first['arch_index']}:{first['seed']}"
        )
    return stream_of(run, str(kept["key"].iloc[0]), text)


def stream_of(run: Run, key: str, name: str) -> Stream:
    """The training `key` of a run, which kept its scores.

    Raises:
        InputError: the file of scores is damaged.
    """
    classes = len(run.data.classes)
    shapes = {split: (len(run.data.splits[split].ids), classes) for split in HELD_OUT}
    scores = read_scores(run.scores_path(key), shapes)
    probabilities = {split: normalised(np.exp(values)) for split, values in scores.items()}
    return Stream(name, key, run.arguments.protocol, run.data, probabilities)


def check_alike(streams: Sequence[Stream]) -> None:
    """Nothing, if all streams were trained and tested on the same clips.

    Raises:
        InputError: they were not, or one is there twice.
    """
    first = streams[0]
    seen: dict[str, str] = {}
    for stream in streams:
        if stream.key in seen:
            raise InputError(f"{stream.name!r} and {seen[stream.key]!r} are the same training")
        seen[stream.key] = stream.name
        for what, mine, wanted in (
            ("protocol", stream.protocol, first.protocol),
            ("classes", stream.data.classes, first.data.classes),
            *(
                (f"{split} clips", stream.data.splits[split], first.data.splits[split])
                for split in stream.data.splits
            ),
        ):
            if mine != wanted:
                which = f" ({mine!r}, not {wanted!r})" if what == "protocol" else ""
                raise InputError(
                    f"{stream.name!r} has other {what} than {first.name!r}{which}: only trainings "
                    "on the same clips can be fused"
                )


def relative(weights: Sequence[float], streams: int) -> Floats:
    """Weights that sum to one.

    Raises:
        InputError: not one for each stream, a negative one, or nothing but zeros.
    """
    values = np.array(weights, dtype=np.float64)
    if len(values) != streams:
        raise InputError(f"--weights: {len(values)} given for {streams} runs")
    if not np.isfinite(values).all() or (values < 0).any() or values.sum() <= 0:
        raise InputError("--weights: give numbers from 0 on, not all of them 0")
    shares: Floats = values / values.sum()
    return shares


def fitted_weights(streams: Sequence[Floats], labels: NDArray[np.int64]) -> Floats:
    """The weights of the mixture that gives `labels` the highest likelihood.

    By expectation maximisation from equal weights; the likelihood has one maximum only.

    Args:
        streams: probabilities `(clips, classes)` of each.
        labels: classes of the clips.
    """
    of_labels = np.stack([values[np.arange(len(labels)), labels] for values in streams])
    of_labels = np.maximum(of_labels, LEAST)
    weights = np.full(len(streams), 1 / len(streams))
    for _ in range(ROUNDS):
        parts = weights[:, None] * of_labels
        moved = (parts / parts.sum(axis=0)).mean(axis=1)
        steady = np.abs(moved - weights).max() < STEADY
        weights = moved
        if steady:
            break
    return weights


def mixture(streams: Sequence[Floats], weights: Floats) -> Floats:
    """The weighted mean of the streams' probabilities, `(clips, classes)`."""
    total: Floats = np.tensordot(weights, np.stack(list(streams)), axes=1)
    return total


def normalised(values: Floats) -> Floats:
    """Rows that sum to one: rounding to half precision took some of that away."""
    shares: Floats = values / values.sum(axis=1, keepdims=True)
    return shares


def quality(probabilities: Floats, labels: NDArray[np.int64]) -> Accuracy:
    """Top-1, top-5 and the mean of top-1 over the classes that have clips; ties to lower classes.

    Top-5 of fewer than five classes is one.
    """
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
    hits = best[:, 0] == labels
    counts = np.bincount(labels)
    of_class = np.bincount(labels, weights=hits)[counts > 0] / counts[counts > 0]
    return Accuracy(
        top1=float(hits.mean()),
        top5=float((best == labels[:, None]).any(axis=1).mean()),
        mean_class=float(of_class.mean()),
    )


def confusion_matrix(probabilities: Floats, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Clips by true class (rows) and by the class with the highest probability (columns)."""
    matrix = np.zeros((probabilities.shape[1],) * 2, np.int64)
    np.add.at(matrix, (labels, probabilities.argmax(axis=1)), 1)
    return matrix
