"""How a campaign begins: from a command's arguments to a run, new or continued."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from nas_skeleton.errors import InputError
from nas_skeleton.results.run import Arguments, Clips, DataFacts, plan_run
from nas_skeleton.scheduling.adaptive import decides_by_results, strategy_of
from nas_skeleton.scheduling.campaign import Campaign
from nas_skeleton.scheduling.means import Means, check_precision
from nas_skeleton.scheduling.shards import Shard
from nas_skeleton.skeletons.store import Dataset
from nas_skeleton.spaces import ModelSpace, SearchSpace
from nas_skeleton.strategies.search import PARALLEL

if TYPE_CHECKING:
    from nas_skeleton.training.aim import Watch


NAMED = 4  # architectures that the name of a run lists


def start_campaign(
    space: SearchSpace,
    dataset: Dataset,
    means: Means,
    *,
    recipe: str | None = None,
    protocol: str | None = None,
    strategy: str = "random",
    seeds: list[int],
    trials: int | None = None,
    one_per_class: bool = False,
    archs: list[int] | None = None,
    name: str | None = None,
    shard: Shard | None = None,
    modality: str = "",
    keep_scores: bool = False,
    keep_weights: bool = False,
    parallel: int | None = None,
    share_classes: bool = False,
    watch: Watch | None = None,
    infer: bool = True,
) -> Campaign:
    """Plan a run, or continue the one that the same arguments started.

    Nothing is written yet, but for A-links, which are inferred where the space needs them and the
    data set has none.

    Args:
        space: what to search in, with the modalities of its card.
        dataset: what to train on.
        means: workers, device, engine.
        recipe: None for the space's default.
        protocol: None for the data set's default.
        strategy: one of `strategies.STRATEGIES`; not used when `archs` lists the architectures.
        seeds: every architecture is trained with each; the first one steers the strategy.
        trials: number of architectures, None for all; for a strategy that decides by results, its
            budget in trainings of all epochs with all seeds.
        one_per_class: with "exhaustive", train one architecture per functional class.
        archs: the architectures themselves, instead of a strategy.
        name: of the folder under runs/; None names it after the arguments.
        shard: the part of the run to train, None for all of it.
        modality: what the networks see instead of the card's modalities, several joined by "+".
        keep_scores: whether class scores of trainings that finish from now on are kept.
        keep_weights: whether their weights are, after the last epoch and the best on validation.
        parallel: for a strategy that decides by results: how many of its proposals may be without
            a result that it knows.
        share_classes: for such a strategy: whether one architecture of a functional class stands
            for all.
        watch: hears how it goes on where the space's A-links have yet to be inferred.
        infer: False refuses to infer them.

    Raises:
        InputError: an unknown name, changed data, a protocol without training clips, a precision
            that the device lacks, or a run folder that belongs to other arguments.
    """
    import torch

    from nas_skeleton.training.aim import SILENT, clips_fingerprint

    space = space.with_modality(modality)
    recipe = recipe or space.card.default_recipe
    # Where the trainings run, unless that is elsewhere: a login node may have no GPU.
    on_gpu = means.device == "cuda" and torch.cuda.is_available()
    check_precision(recipe, space.card.recipe(recipe), means.device)
    dataset.verify()
    protocol = protocol or dataset.card.default_protocol
    arguments = Arguments(
        space=space.name,
        dataset=dataset.name,
        fingerprint=clips_fingerprint(
            dataset,
            space.card,
            protocol,
            watch or SILENT,
            torch.device("cuda" if on_gpu else "cpu"),
            infer=infer,
        ),
        protocol=protocol,
        recipe=recipe,
        recipe_hash=space.card.recipe_hash(recipe),
        strategy=strategy,
        seeds=seeds,
        trials=trials,
        one_per_class=one_per_class,
        archs=archs,
        modality=modality,
        parallel=PARALLEL if parallel is None else parallel,
        share_classes=share_classes,
    )
    if decides_by_results(arguments):
        if not len(dataset.split(protocol)["valid"]):
            raise InputError(
                f"--strategy {strategy} decides by validation clips, and protocol {protocol!r} of "
                f"{dataset.name} has none: choose another --protocol"
            )
        strategy_of(arguments, space)  # what it cannot do is said before anything is written
    else:
        arguments = replace(arguments, parallel=1)
    data = data_facts(dataset, protocol, space)
    run = plan_run(
        name or default_name(arguments, space),
        arguments,
        data,
        seeds_may_grow=not decides_by_results(arguments),
    )
    return Campaign(
        run,
        space,
        dataset,
        means,
        shard,
        keep_scores=keep_scores,
        keep_weights=keep_weights,
    )


def data_facts(dataset: Dataset, protocol: str, space: SearchSpace) -> DataFacts:
    """What a run keeps of its data: names and labels of clips, no coordinates."""
    return DataFacts(
        classes=list(dataset.classes),
        joints=len(dataset.layout.joints),
        bodies=space.card.input.bodies(dataset.bodies),
        channels=space.card.channels(dataset.channels, len(dataset.layout.joints)),
        splits={
            part: Clips([dataset.ids[i] for i in clips], dataset.labels[clips].tolist())
            for part, clips in dataset.split(protocol).items()
        },
    )


def default_name(arguments: Arguments, space: SearchSpace) -> str:
    """A run's name from its arguments, without what may grow: trials, and seeds after the first.

    The order of a list of architectures is not in it either.
    """
    if arguments.archs is None:
        what = arguments.strategy.replace("+", "p") + "-one-per-class" * arguments.one_per_class
        what += "-shared-classes" * arguments.share_classes
    elif isinstance(space, ModelSpace):
        names = (space.arch_string(arch) for arch in arguments.archs)
        what = "train-" + "-".join(name.replace("+", "p") for name in names)
    elif len(arguments.archs) <= NAMED:
        what = "train-" + "-".join(map(str, sorted(arguments.archs)))
    else:
        listed = hashlib.sha256(json.dumps(sorted(arguments.archs)).encode()).hexdigest()[:8]
        what = f"list-of-{len(arguments.archs)}-{listed}"
    parts = (
        arguments.space,
        arguments.dataset,
        arguments.protocol,
        arguments.recipe,
        what,
        # The seeds are part of what a strategy hears: with another list it is another search.
        "-".join(map(str, arguments.seeds[: None if decides_by_results(arguments) else 1])),
        *([arguments.modality] if arguments.modality else []),
    )
    return "_".join(re.sub(r"[^A-Za-z0-9_.-]", "-", part) for part in parts)
