"""A-links of a data set: AS-GCN's inference module pre-trained once, its links kept for good.

The module (`network.aim`) is trained on the training clips of a protocol, without their labels;
then it infers the links of every clip, each edge its likeliest type. They are kept beside the
prepared data, and whatever trains on them later reads them from there. What they came out to be is
part of the identity of a training (`clips_fingerprint`): two machines may round differently.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from torch import Tensor

from nas_skeleton.errors import InputError
from nas_skeleton.network.aim import (
    AIM,
    EDGE_TYPES,
    edge_indicators,
    edge_types,
    pose_error,
    type_divergence,
)
from nas_skeleton.network.initialise import derive_seed, initialise
from nas_skeleton.skeletons.inputs import encoded
from nas_skeleton.skeletons.keeping import Part, kept
from nas_skeleton.skeletons.store import Dataset
from nas_skeleton.spaces.card import AnyCard, Input
from nas_skeleton.spaces.recipe import AIMRecipe
from nas_skeleton.training import checkpoint
from nas_skeleton.training.threads import one_thread

FOLDER = "links"  # beside a data set's prepared store
SUFFIX = "u1"
VERSION = 1  # raise it when the same data come to have other links
INFERRED_AT_ONCE = 256  # bodies
DECODED_AT_ONCE = 8


@dataclass(frozen=True)
class PretrainingEpoch:
    """One epoch over all bodies of all training clips.

    Attributes:
        epoch: 1-based.
        epochs: of the whole pre-training.
        loss: mean over batches of the error of foretold poses and the types' divergence, as
            `network.aim.AIM.loss`.
        linked: share of pairs of joints with a link of each type, by the likeliest type.
    """

    epoch: int
    epochs: int
    loss: float
    linked: tuple[float, ...]


class Watch:
    """Hears of a pre-training as it goes on. What a method raises ends it; here nothing happens."""

    def begin(self, bodies: int, epochs: int) -> None:
        """A pre-training of so many epochs on so many bodies begins, or goes on."""

    def check(self) -> None:
        """Called after every batch, and every second of waiting."""

    def waiting(self) -> None:
        """Another process is at these links; this one waits for them."""

    def epoch(self, done: PretrainingEpoch) -> None:
        """An epoch is done, and its checkpoint written."""


SILENT = Watch()


def infer_links(
    dataset: Dataset,
    card: AnyCard,
    protocol: str,
    watch: Watch = SILENT,
    *,
    device: torch.device | None = None,
    infer: bool = True,
) -> NDArray[np.uint8]:
    """The type of every pair of joints in every clip, uint8 `(N, M, V * (V - 1))`.

    From the data set's folder, or, where they are not there yet, from a pre-training that takes
    minutes. Processes that need them at the same time wait for the first one.

    Args:
        dataset: a prepared data set.
        card: of a space with a table `aim`.
        protocol: whose training clips are learnt from.
        watch: told how a pre-training goes on.
        device: what a pre-training runs on; None: the CPU.
        infer: False refuses a pre-training.

    Raises:
        InputError: an unknown protocol, clips that the module cannot see, links that are not there
            and must not be inferred, or a folder that cannot hold them.
    """
    recipe = card.aim
    if recipe is None:
        raise InputError(f"space {card.name!r} has no A-links: its card lacks a table [aim]")
    train = dataset.split(protocol)["train"]
    joints = len(dataset.layout.joints)
    shape = (len(dataset), dataset.bodies, joints * (joints - 1))
    folder = dataset.folder.parent / FOLDER
    key = links_key(dataset, card, protocol)

    def blocks() -> Iterator[Sequence[NDArray[Any]]]:
        poses = _poses(dataset, card.input, recipe)
        unfinished = folder / f"{key}.pt"
        yield (pretrain(poses, train, recipe, watch, device, unfinished),)
        unfinished.unlink(missing_ok=True)

    part = Part(SUFFIX, np.dtype("u1"), shape)
    if not links_path(dataset, card, protocol).is_file():
        if not infer:
            raise InputError(
                f"the A-links of {dataset.name} for space {card.name!r} are not inferred yet: run "
                f"`python -m nas_skeleton.train --model aim --space {card.name} --dataset "
                f"{dataset.name} --protocol {protocol}`"
            )
        with _alone(folder, key, watch):
            [types] = kept(folder, key, [part], blocks, verify=True)
            return types
    [types] = kept(folder, key, [part], blocks, verify=True)
    return types


@contextmanager
def _alone(folder: Path, key: str, watch: Watch) -> Iterator[None]:
    """While this lasts, no other process infers the same links."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f".{key}.lock")
        told = False
        while not lock.is_locked:
            try:
                lock.acquire(timeout=1.0)
            except Timeout:
                if not told:
                    watch.waiting()
                told = True
                watch.check()
    except OSError as error:
        raise InputError(
            f"{folder}: A-links must be kept there, and cannot ({error.strerror or error}): see "
            "that it is a folder that can be written"
        ) from None
    try:
        yield
    finally:
        lock.release()


def links_path(dataset: Dataset, card: AnyCard, protocol: str) -> Path:
    """Where the links are kept once they are inferred."""
    return dataset.folder.parent / FOLDER / f"{links_key(dataset, card, protocol)}.{SUFFIX}"


def links_key(dataset: Dataset, card: AnyCard, protocol: str) -> str:
    """Names what decides the links: data, split, input and how the module is trained."""
    assert card.aim is not None
    parts = {
        "version": VERSION,
        "data": dataset.split_fingerprint(protocol),
        "input": card.input.model_dump(),
        "aim": card.aim.model_dump(),
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return f"aim-{digest[:32]}"


def clips_fingerprint(
    dataset: Dataset,
    card: AnyCard,
    protocol: str,
    watch: Watch = SILENT,
    device: torch.device | None = None,
    *,
    infer: bool = True,
) -> str:
    """SHA-256, in hex, of what a training sees: data and split, and A-links where the card has any.

    Those are inferred for it; arguments and errors are those of `infer_links`.
    """
    plain = dataset.split_fingerprint(protocol)
    if card.aim is None:
        return plain
    types = infer_links(dataset, card, protocol, watch, device=device, infer=infer)
    digest = hashlib.sha256(types.tobytes())
    digest.update(f"{plain}/{links_key(dataset, card, protocol)}".encode())
    return digest.hexdigest()


def pretrain(
    poses: Tensor,
    train: NDArray[np.int64],
    recipe: AIMRecipe,
    watch: Watch = SILENT,
    device: torch.device | None = None,
    unfinished: Path | None = None,
) -> NDArray[np.uint8]:
    """Train the module and let it infer all links.

    Runs with one thread, because the number of threads changes how sums are rounded.

    Args:
        poses: of every clip, `(N, C, T, V, M)`.
        train: the clips to learn from.
        recipe: how.
        watch: told how it goes on.
        device: None for the CPU.
        unfinished: checkpoint, written after every epoch; where it is there, this goes on from it.

    Returns:
        uint8 `(N, M, V * (V - 1))`; of a body that is not there no pair has a link.
    """
    with one_thread():
        return _pretrain(poses, train, recipe, watch, device or torch.device("cpu"), unfinished)


def share_of_links(types: NDArray[np.uint8]) -> tuple[float, ...]:
    """The share of all pairs of joints that have a link of each type."""
    return tuple(float((types == j).mean()) for j in range(1, EDGE_TYPES))


def _pretrain(
    poses: Tensor,
    train: NDArray[np.int64],
    recipe: AIMRecipe,
    watch: Watch,
    device: torch.device,
    unfinished: Path | None,
) -> NDArray[np.uint8]:
    n, c, t, v, m = poses.shape
    bodies = poses.permute(0, 4, 1, 2, 3).reshape(n * m, c, t, v).contiguous()
    there = bodies.abs().flatten(1).amax(dim=1) > 0
    of_clips = torch.arange(n * m).view(n, m)
    learnt = of_clips[torch.from_numpy(train)].flatten()
    learnt = learnt[there[learnt]]
    if len(learnt) < 2:
        raise InputError("no A-links can be learnt: fewer than two bodies are in training clips")

    module = AIM(v, c, t, recipe.hidden)
    initialise(module, derive_seed(recipe.seed, "aim"))
    module.to(device)
    optimizer = torch.optim.Adam(module.parameters(), lr=recipe.learning_rate)
    epoch = _resume(unfinished, module, optimizer)
    watch.begin(len(learnt), recipe.epochs - epoch)
    while epoch < recipe.epochs:
        epoch += 1
        chance = torch.Generator(device)
        chance.manual_seed(derive_seed(recipe.seed, "aim", "chance", epoch))
        order = torch.Generator().manual_seed(derive_seed(recipe.seed, "aim", "order", epoch))
        shuffled = learnt[torch.randperm(len(learnt), generator=order)]
        losses = []
        module.train()
        for batch in torch.split(shuffled, recipe.batch_size):
            if len(batch) == 1:
                continue  # its batch norm would see one body only
            optimizer.zero_grad(set_to_none=True)
            losses.append(_gradients(module, bodies[batch].to(device), chance))
            optimizer.step()
            watch.check()
        mean = torch.stack(losses).mean().item()
        if not math.isfinite(mean):
            raise InputError(
                f"pre-training AIM: the loss is {mean} in epoch {epoch}: lower aim.learning_rate"
            )
        types = _infer(module, bodies[learnt], device)
        shares = share_of_links(types.numpy())
        if unfinished:
            state = {
                "epoch": epoch,
                "module": module.state_dict(),
                "optimizer": optimizer.state_dict(),
            }
            checkpoint.save(unfinished, unfinished.stem, state)
        watch.epoch(PretrainingEpoch(epoch, recipe.epochs, mean, shares))
    every = _infer(module, bodies, device)
    every[~there] = 0
    return every.view(n, m, -1).numpy()


def _gradients(module: AIM, poses: Tensor, chance: torch.Generator | None) -> Tensor:
    """Add up the gradients of `AIM.loss`, and return it; `poses` `(B, C, T, V)`.

    The decoder keeps a vector for each pair of joints and frame, gigabytes for a whole batch, and
    no body depends on another one there: it is computed for a few of them at a time.
    """
    joints = poses.shape[-1]
    logits = module.encoder(poses, chance)
    indicators = edge_indicators(logits, chance)
    apart = indicators.detach().requires_grad_()
    total = type_divergence(logits, joints)
    error = torch.zeros_like(total)
    parts = zip(*(torch.split(x, DECODED_AT_ONCE) for x in (poses, apart)), strict=True)
    for seen, types in parts:
        share = len(seen) / len(poses)
        part = share * pose_error(module.decoder(seen, types, chance), seen[:, :, 1:])
        part.backward()  # type: ignore[no-untyped-call]
        error += part.detach()
    torch.autograd.backward([total, indicators], [None, apart.grad])
    return total.detach() + error


def _resume(unfinished: Path | None, module: AIM, optimizer: torch.optim.Adam) -> int:
    """Load what a pre-training that was stopped left; how many epochs it did."""
    saved = checkpoint.load(unfinished, unfinished.stem) if unfinished else None
    if saved is None:
        return 0
    module.load_state_dict(saved["module"])
    optimizer.load_state_dict(saved["optimizer"])
    return int(saved["epoch"])


@torch.no_grad()
def _infer(module: AIM, bodies: Tensor, device: torch.device) -> Tensor:
    """Types `(B, E)` of bodies `(B, C, T, V)`, on the CPU."""
    module.eval()
    parts = torch.split(bodies, INFERRED_AT_ONCE)
    return torch.cat([edge_types(module.encoder(part.to(device))).cpu() for part in parts])


def _poses(dataset: Dataset, card: Input, recipe: AIMRecipe) -> Tensor:
    """What the module sees of all clips, `(N, C, recipe.frames, V, M)`: no future frames."""
    inputs = encoded(
        dataset,
        card.encoding,
        recipe.frames,
        modalities=card.modalities,
        motion=card.motion,
        sampling=card.sampling,
        future=card.future,
    )
    return torch.from_numpy(np.ascontiguousarray(inputs[:, :, : recipe.frames]))
