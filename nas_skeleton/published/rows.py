"""What a published table answers with: typed rows that cannot be changed, and errors that help.

Accuracies are shares in [0, 1]; NaN where the protocol has no such clips or the training diverged.
Times and sizes are in the unit their name says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.errors import InputError

Aggregate = Literal["mean", "median"]
Epoch = int | Literal["last", "best"]
AGGREGATES: tuple[Aggregate, ...] = ("mean", "median")
SHOWN = 12  # of a list of what exists


class NotInTable(InputError, KeyError):
    """The table has no such architecture, seed, epoch, column or data set; says what it has."""

    __str__ = Exception.__str__  # KeyError's own puts it in quotes


class Unspecified(InputError, ValueError):
    """A question that leaves open which of several numbers is meant; says what can be chosen."""


@dataclass(frozen=True, slots=True)
class BaseRow:
    """What is known of an architecture, of one training or over several.

    The columns of files, and so of `Benchmark.to_pandas` and `Benchmark.array`, bear these names,
    but where a file has more than one of a kind:

    ======================================  ==============================================
    attribute                               column of `to_pandas("trainings")`
    ======================================  ==============================================
    ``train_top1`` ... ``test_mean_class``  ``final_train_top1`` ..., after the last epoch;
                                            ``best_train_top1`` ... with `epoch="best"`
    ``epoch``                               ``epochs``; ``best_epoch`` with `epoch="best"`
    ``table``                               none: the name of the folder
    any other                               the same; ``train_time_s`` is until the last epoch
    ======================================  ==============================================

    With another `epoch`, attributes are columns of `to_pandas("epochs")`, which has accuracies
    only. `to_pandas("architectures")` has the accuracies, time and latency of an `AggregateRow`
    over all seeds under its names, and in `seeds`, `copied` and `diverged` how many there are.

    Attributes:
        table: name of the published table.
        arch_index: of the architecture, as in NAS-Bench-201.
        arch_str: its architecture string.
        functional_key: equal for architectures that are the same function.
        epoch: after which the accuracies were measured, 1-based.
        params: number of parameters.
        macs: multiply-accumulates of one clip.
        train_time_s: seconds of training until `epoch`, evaluations included, by the clock: what
            else the machine was at counts, and the datasheet says how much. Only the whole is
            measured; of E of all epochs it is the share E of that.
        latency_ms: milliseconds for one clip through the network in PyTorch, without its dead
            edges, on the device it was trained on: the median of five passes after the training.
        peak_memory_mb: MiB; on a CPU of the whole process that trained, libraries included.
        train_top1, ..., test_mean_class: shares of clips in [0, 1]; `mean_class` is the mean of
            top-1 per class.
    """

    table: str
    arch_index: int
    arch_str: str
    functional_key: str
    epoch: int
    params: int
    macs: int
    train_time_s: float
    latency_ms: float
    peak_memory_mb: float
    train_top1: float
    train_top5: float
    train_mean_class: float
    valid_top1: float
    valid_top5: float
    valid_mean_class: float
    test_top1: float
    test_top5: float
    test_mean_class: float


@dataclass(frozen=True, slots=True)
class Row(BaseRow):
    """One architecture trained with one seed.

    Attributes:
        seed: of the training.
        status: "done", "copied" or "diverged".
        source_index: the architecture that was trained, where this row is taken over from another
            one that is the same function; such a row is no independent training.
    """

    seed: int
    status: str
    source_index: int | None


@dataclass(frozen=True, slots=True)
class AggregateRow(BaseRow):
    """One architecture over its seeds: accuracies, times and memory are means or medians.

    With epoch "best", which differs from seed to seed, `epoch` is the latest.

    Attributes:
        aggregate: "mean" or "median".
        seeds: those that finished, which the numbers are over.
        copied_seeds: those of them whose row is taken over from another architecture.
        diverged_seeds: further ones that have no accuracy.
        valid_top1_sd: standard deviation over the seeds; NaN of one seed.
        test_top1_sd: likewise.
    """

    aggregate: Aggregate
    seeds: tuple[int, ...]
    copied_seeds: tuple[int, ...]
    diverged_seeds: tuple[int, ...]
    valid_top1_sd: float
    test_top1_sd: float


@dataclass(frozen=True)
class Clips:
    """The clips of one split, in the order of predictions.

    Attributes:
        ids: their names in the data set.
        labels: `(n,)` true classes, 0-based.
        classes: names of the classes.
    """

    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]


def listed(values: Iterable[object]) -> str:
    """The first few of what exists, for an error."""
    texts = [str(value) for value in values]
    more = f" and {len(texts) - SHOWN:,} more" * (len(texts) > SHOWN)
    return (", ".join(texts[:SHOWN]) or "none") + more
