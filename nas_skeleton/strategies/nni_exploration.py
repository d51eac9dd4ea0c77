"""NNI's own exploration strategies behind ask and tell.

NNI's strategies are programs that call an evaluator: they run here in a thread that is only awake
while it is asked for a proposal. So they are as deterministic as any strategy: what they draw from
the global generators of NumPy and PyTorch is taken from generators of their own, swapped in
meanwhile. They know one proposal at a time. NNI's TPE sleeps for a second after each.
"""

from __future__ import annotations

import importlib
import importlib.util
import queue
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from nas_skeleton.errors import InputError
from nas_skeleton.spaces import CellSpace
from nas_skeleton.spaces.nni_names import EDGE_NAMES, NNI_OPERATIONS, SCOPE, index_of_sample
from nas_skeleton.strategies.base import Result, Setting, Strategy, Trial

POPULATION, TOURNAMENT = 10, 3  # of evolution, as NATS-Bench has them; NNI's own are 100 and 25
# Of each edge to be drawn anew; NNI's own is 0.05. It may draw what was there, and children that
# were met before are refused: those that are left differ from their parent in 1.4 edges or more.
MUTATION = 1 / len(EDGE_NAMES)
SEEDS = 2**32  # NumPy's old generator takes no more


def import_nni() -> Any:
    """The module `nni`, told to print nothing.

    Raises:
        InputError: it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes of PyTorch that NNI does not know
            with suppress(ImportError):  # NNI asks for Gym, whose maintained successor this is
                sys.modules.setdefault("gym", importlib.import_module("gymnasium"))
            with _without_ray():
                import nni
                import nni.nas.strategy
    except ImportError as error:
        raise InputError(f"NNI is needed ({error}): pip install 'nas-skeleton[nni]'") from None
    nni.silence_stdout()
    return nni


@contextmanager
def _without_ray() -> Iterator[None]:
    """While this lasts, Ray is not found.

    Tianshou would import it where it is installed, with whatever settings are in the environment;
    `scheduling.ray_cluster` has to make them first, or a cluster has no password.
    """
    if "ray" in sys.modules:
        yield
        return
    sys.modules["ray"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["ray"]


def nni_model_space(space: CellSpace, network: Callable[[int], Any]) -> Any:
    """All cells as an `nni.nas` model space with the labels of NNI's `NasBench201`.

    Args:
        space: the cells.
        network: what a sample is frozen to, from the index of its cell.
    """
    nni = import_nni()
    from nni.mutable import label_scope
    from nni.nas.nn.pytorch import ModelSpace

    class Cells(ModelSpace):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            with label_scope(SCOPE):
                for edge in EDGE_NAMES:
                    self.add_mutable(nni.choice(edge, list(NNI_OPERATIONS)))

        def freeze(self, sample: dict[str, Any]) -> Any:
            self.validate(sample)
            return network(index_of_sample(space, sample))

    return Cells()


@dataclass
class _Frozen:
    """What a sample is frozen to where nothing is built: training is somebody else's."""

    index: int


class NniExploration(Strategy):
    """Proposes what a strategy of NNI's wants evaluated, and hands it the accuracy.

    Args:
        space: the cells.
        make: makes NNI's strategy, once its own generators are in place.
        seed: of those generators.
    """

    def __init__(self, space: CellSpace, make: Callable[[], Any], seed: int) -> None:
        import numpy as np
        import torch

        import_nni()
        self._space = space
        self._make = make
        self._proposals: queue.Queue[int | Exception | None] = queue.Queue()
        self._answers: queue.Queue[float] = queue.Queue()
        self._answer: float | None = None
        self._waits = False  # for the result of its last proposal
        self._over = False
        self._thread = threading.Thread(target=self._explore, name="nni", daemon=True)
        self._numpy = np.random.RandomState(seed).get_state()
        self._torch = torch.Generator().manual_seed(seed).get_state()

    def ask(self) -> Trial | None:
        if self._over or self._waits:
            return None
        with self._own_randomness():
            if self._answer is None:
                self._thread.start()
            else:
                self._answers.put(self._answer)
            proposal = self._proposals.get()
        if isinstance(proposal, Exception):
            raise proposal
        if proposal is None:
            self._over = True
            return None
        self._waits = True
        return Trial(proposal)

    def tell(self, trial: Trial, result: Result) -> None:  # noqa: ARG002 (it waits for this one)
        self._answer = result.valid_top1
        self._waits = False

    def _explore(self) -> None:
        """In the thread: let NNI search until it has no more to propose."""
        from nni.nas.evaluator import FunctionalEvaluator
        from nni.nas.execution import SequentialExecutionEngine
        from nni.nas.space import RawFormatModelSpace

        try:
            space = RawFormatModelSpace.from_model(
                nni_model_space(self._space, _Frozen), FunctionalEvaluator(self._evaluate)
            )
            self._make()(space, SequentialExecutionEngine())
            self._proposals.put(None)
        except Exception as error:  # belongs to whoever asks
            self._proposals.put(error)

    def _evaluate(self, frozen: _Frozen) -> None:
        import nni

        self._proposals.put(frozen.index)
        nni.report_final_result(self._answers.get())

    @contextmanager
    def _own_randomness(self) -> Iterator[None]:
        import numpy as np
        import torch

        before = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 - NNI's choice
        np.random.set_state(self._numpy)  # noqa: NPY002
        torch.set_rng_state(self._torch)
        try:
            yield
        finally:
            self._numpy, self._torch = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
            np.random.set_state(before[0])  # noqa: NPY002
            torch.set_rng_state(before[1])


def _evolution(seed: int) -> Any:
    from nni.nas.strategy import RegularizedEvolution

    return RegularizedEvolution(
        population_size=POPULATION, sample_size=TOURNAMENT, mutation_prob=MUTATION, seed=seed
    )


def _tpe(seed: int) -> Any:
    from nni.nas.strategy import TPE

    return TPE(seed=seed)


def _reinforcement(_seed: int) -> Any:
    from nni.nas.strategy import PolicyBasedRL

    return PolicyBasedRL()


NNI_STRATEGIES: dict[str, Callable[[int], Any]] = {
    "nni-evolution": _evolution,
    "nni-tpe": _tpe,
    "nni-rl": _reinforcement,
}


def nni_strategy(name: str, setting: Setting) -> NniExploration:
    """The strategy called `name`, one of `NNI_STRATEGIES`.

    Raises:
        InputError: NNI, or what it needs for reinforcement learning, is not installed.
    """
    assert isinstance(setting.space, CellSpace)
    if name == "nni-rl" and importlib.util.find_spec("tianshou") is None:
        raise InputError("--strategy nni-rl needs Tianshou: pip install 'nas-skeleton[nni-rl]'")
    seed = setting.seed % SEEDS
    return NniExploration(setting.space, lambda: NNI_STRATEGIES[name](seed), seed)
