"""What to train with: workers, device and engine, where "auto" leaves them to the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nas_skeleton.cores import usable_cores
from nas_skeleton.errors import InputError
from nas_skeleton.scheduling.worker import Train
from nas_skeleton.spaces.recipe import TrainingRecipe
from nas_skeleton.training.engines import ENGINES, SIDE_BY_SIDE, EngineName

Device = Literal["auto", "cpu", "cuda"]
ExecutorName = Literal["local", "ray"]
EngineChoice = EngineName | Literal["auto"]
UNPROVEN = "engine cuda-graph is tested on CPUs only so far; --engine fast is plain PyTorch"


@dataclass(frozen=True)
class Means:
    """What to train with.

    `side_by_side` is how many candidates a worker advances together at most, `remark` a line for
    the user where the choice is not what they would expect, else empty. `train` stands in for
    `training.train.train_jobs`, to measure what is left without it.
    """

    workers: int
    device: Literal["cpu", "cuda"]
    engine: EngineName
    side_by_side: int
    checkpoint_every_s: float
    remark: str = ""
    executor: ExecutorName = "local"
    train: Train | None = None


def choose_means(
    device: Device,
    workers: str,
    engine: EngineChoice = "auto",
    checkpoint_every_s: float = 20.0,
    *,
    cells: bool = True,
) -> Means:
    """Turn "auto" into what this machine has: a worker per GPU if there are any, else per core.

    `cells`: whether cells are trained, and not reference models.

    Raises:
        InputError: "cuda" on a machine without a usable GPU, an engine that cannot run here, or not
            a number of workers.
    """
    import torch

    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise InputError("--device cuda: torch finds no usable GPU here; use --device cpu or auto")
    chosen: Literal["cpu", "cuda"] = "cuda" if device != "cpu" and has_gpu else "cpu"
    count = worker_count(workers, torch.cuda.device_count() if chosen == "cuda" else usable_cores())
    trainer, remark = choose_engine(engine, chosen, cells=cells)
    side_by_side = SIDE_BY_SIDE.get(trainer, 1)
    return Means(count, chosen, trainer, side_by_side, checkpoint_every_s, remark)


def worker_count(text: str, auto: int) -> int:
    """The number that `--workers` gives, where "auto" is `auto`.

    Raises:
        InputError: it is neither that nor a number of workers.
    """
    if text == "auto":
        return auto
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"--workers {text!r}: give a number of at least 1, or auto")
    return int(text)


def choose_engine(
    engine: EngineChoice, device: Literal["cpu", "cuda"], *, cells: bool = True
) -> tuple[EngineName, str]:
    """The engine, and a remark for the user where "auto" chose one to know something of.

    Raises:
        InputError: the engine cannot run on this device, or knows no reference models.
    """
    if engine not in ("auto", *ENGINES):
        raise InputError(f"unknown engine {engine!r}: there are auto, {', '.join(ENGINES)}")
    if engine in ("native", "packed") and not cells:
        raise InputError(f"--engine {engine} trains cells, no reference models: use --engine auto")
    if device == "cuda" and engine == "native":
        raise InputError("--engine native trains on a CPU: add --device cpu")
    if device == "cpu" and engine == "cuda-graph":
        raise InputError("--engine cuda-graph needs a GPU: use --engine auto")
    if engine != "auto" and engine != "native":
        return engine, ""
    if device == "cuda":
        return "cuda-graph", UNPROVEN
    if not cells:
        return "fast", ""
    from nas_skeleton.training.engines.native import available

    why_not = available()
    if not why_not:
        return "native", ""
    if engine == "native":
        raise InputError(f"--engine native cannot run here: {why_not}; use --engine fast")
    return "fast", f"engine fast, for native cannot run here: {why_not}"


def check_precision(name: str, recipe: TrainingRecipe, device: Literal["cpu", "cuda"]) -> None:
    """Nothing, if the device has the precision that the recipe called `name` asks for.

    Raises:
        InputError: it has not.
    """
    if recipe.precision != "float32" and device == "cpu":
        raise InputError(
            f"recipe {name!r} asks for precision {recipe.precision!r}, which needs a GPU"
        )
