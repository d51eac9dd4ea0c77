"""The engine `native`: the whole step of a candidate as one call of compiled code.

A step of a small network is too short for a framework: at 8 channels, 16 frames and batches of 32
clips its arithmetic takes a few milliseconds, PyTorch's dispatch, layouts and memory several times
that. Here clips are the innermost dimension of every map (see maps.h), so vectors are full whatever
the channels, and a step is a list of operations (`program.py`) on memory laid out once.

Tried and left out: Winograd F(2x2, 3x3) forwards and for gradients of inputs saves 2 to 10 % of a
step at 16 channels, nothing at 8: transforms and the edges of small maps eat what it saves. Several
cells or seeds in one call would save nothing: calls take microseconds of a step. bfloat16 is not
offered on CPUs: nobody has shown here what it does to accuracy.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas_skeleton.spaces import Architecture
from nas_skeleton.spaces.card import STGCNStem
from nas_skeleton.spaces.cell import Cell
from nas_skeleton.training.candidates import Candidates, Problem, State, Unsupported
from nas_skeleton.training.engines.native.library import Scalar, library
from nas_skeleton.training.engines.native.network import write
from nas_skeleton.training.engines.native.program import Program

LINE = 64  # bytes of a cache line
LONGEST_KERNEL = 15  # taps in one direction, see Taps in convolution.h
PROJECTION = ".project.weight"
SCALARS: dict[torch.dtype, Scalar] = {torch.float32: "float", torch.float64: "double"}


class _Map(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p)] + [
        (name, ctypes.c_int64) for name in ("channels", "height", "width", "stride")
    ]


class _Context(ctypes.Structure):
    _fields_ = (
        [
            (name, ctypes.c_void_p)
            for name in (
                "maps",
                "parameters",
                "gradients",
                "momentum",
                "running",
                "saved",
                "inputs",
                "labels",
                "logits",
                "loss_sum",
            )
        ]
        + [
            (name, ctypes.c_int64)
            for name in (
                "lanes",
                "valid",
                "batch",
                "bodies",
                "classes",
                "parameter_count",
                "training",
            )
        ]
        + [(name, ctypes.c_double) for name in ("learning_rate", "momentum_factor", "weight_decay")]
        + [("nesterov", ctypes.c_int64)]
    )


class Native(Candidates):
    """Candidates that take turns, each a program of its own."""

    def __init__(
        self, problem: Problem, archs: Sequence[Architecture], states: Sequence[State]
    ) -> None:
        task = problem.task
        card, _, cells = problem.of_cells(archs)
        if task.device.type != "cpu":
            raise Unsupported("native runs on CPUs only")
        if problem.recipe.precision != "float32":
            raise Unsupported(f"precision {problem.recipe.precision!r} needs a GPU")
        if task.dtype not in SCALARS:
            raise Unsupported(f"native computes in float32 or float64, not {task.dtype}")
        stem = card.stem
        if isinstance(stem, STGCNStem) and stem.temporal_kernel > LONGEST_KERNEL:
            raise Unsupported(f"native has kernels for up to {LONGEST_KERNEL} frames")
        self.loss_sums = torch.zeros(len(cells), dtype=torch.float64)
        self._networks = [
            _Network(problem, cell, state, self.loss_sums[i : i + 1])
            for i, (cell, state) in enumerate(zip(cells, states, strict=True))
        ]

    def set_learning_rate(self, rate: float) -> None:
        for network in self._networks:
            network.context.learning_rate = rate

    def step(self, inputs: Tensor, labels: Tensor, seeds: Sequence[int] = ()) -> None:  # noqa: ARG002
        for network, clips, classes in zip(self._networks, inputs, labels, strict=True):
            network.step(clips, classes)

    def scores(self, inputs: Tensor) -> Tensor:
        return torch.stack([network.scores(inputs) for network in self._networks])

    def state(self, member: int) -> State:
        return self._networks[member].state()

    def load(self, states: Sequence[State]) -> None:
        for network, state in zip(self._networks, states, strict=True):
            network.load(state)


class _Network:
    """One candidate: its program, its memory, and the parameters in it under their names."""

    def __init__(self, problem: Problem, cell: Cell, state: State, loss_sum: Tensor) -> None:
        task, recipe = problem.task, problem.recipe
        self._dtype = task.dtype
        self._library = library(SCALARS[self._dtype])
        self._shape = task.clips.shape[1:]
        bodies = self._shape[-1]
        self._clips = min(recipe.batch_size, len(task.splits["train"]))
        multiple = self._library.lane_multiple()
        lanes = -(-self._clips * bodies // multiple) * multiple

        self._parameters = _Flat(state.momentum)
        statistics = [n for n in state.weights if n.endswith((".running_mean", ".running_var"))]
        self._running = _Flat({name: state.weights[name] for name in statistics})
        norms = [n.removesuffix(".running_mean") for n in statistics if n.endswith("mean")]
        program = Program(
            self._parameters.offsets,
            {name: self._running.offsets[f"{name}.running_mean"] for name in norms},
        )
        write(program, problem, cell)
        self._program = program  # keeps the arrays that the operations point to
        self._forward, self._step = program.finish()
        self._smallest = min(program.shapes, key=lambda shape: shape[1] * shape[2])

        buffers = (self._parameters.size,) * 3 + (self._running.size,) * 2
        self._weights, self._gradients, self._momentum, self._statistics, self._saved = (
            torch.zeros(size, dtype=self._dtype) for size in buffers
        )
        self._borrowed = loss_sum  # the context points into it
        self._logits = torch.zeros(self._clips, task.classes, dtype=self._dtype)
        self._maps, self._memory = _lay_out(program.shapes, lanes, self._dtype)
        self.context = _Context(
            maps=ctypes.addressof(self._maps),
            parameters=self._weights.data_ptr(),
            gradients=self._gradients.data_ptr(),
            momentum=self._momentum.data_ptr(),
            running=self._statistics.data_ptr(),
            saved=self._saved.data_ptr(),
            logits=self._logits.data_ptr(),
            loss_sum=loss_sum.data_ptr(),
            lanes=lanes,
            bodies=bodies,
            classes=task.classes,
            parameter_count=self._parameters.size,
            learning_rate=recipe.learning_rate,
            momentum_factor=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=int(recipe.nesterov),
        )
        self.load(state)

    def step(self, inputs: Tensor, labels: Tensor) -> None:
        _, height, width = self._smallest
        if len(inputs) * self.context.bodies * height * width == 1:
            raise ValueError("batch norm needs more than one value per channel in training")
        if labels.dtype != torch.int64 or labels.shape != inputs.shape[:1]:
            raise ValueError("labels are int64, one for each clip of the batch")
        self._run(self._step, inputs, labels.contiguous())

    def scores(self, inputs: Tensor) -> Tensor:
        parts = []
        for batch in torch.split(inputs, self._clips):
            self._run(self._forward, batch)
            parts.append(self._logits[: len(batch)].clone())
        return torch.cat(parts)

    def state(self) -> State:
        weights = self._parameters.read(self._weights)
        return State(
            weights | self._running.read(self._statistics),
            self._parameters.read(self._momentum),
        )

    def load(self, state: State) -> None:
        self._parameters.fill(self._weights, state.weights)
        self._parameters.fill(self._momentum, state.momentum)
        self._running.fill(self._statistics, state.weights)

    def _run(
        self, program: NDArray[np.int64], inputs: Tensor, labels: Tensor | None = None
    ) -> None:
        """Run operations on a batch; in training it has labels."""
        inputs = inputs.contiguous()
        if (
            len(inputs) > self._clips
            or inputs.shape[1:] != self._shape
            or (inputs.dtype, inputs.device.type) != (self._dtype, "cpu")
        ):
            raise ValueError(f"a batch is at most {self._clips} clips {self._shape}, {self._dtype}")
        context = self.context
        context.inputs = inputs.data_ptr()
        context.labels = None if labels is None else labels.data_ptr()
        context.batch, context.valid = len(inputs), len(inputs) * context.bodies
        context.training = int(labels is not None)
        self._library.run(
            ctypes.byref(context),
            ctypes.c_void_p(program.ctypes.data),
            ctypes.c_int64(len(program)),
        )


class _Flat:
    """Tensors by name in one flat buffer."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self._shapes = {name: tensor.shape for name, tensor in tensors.items()}
        self.offsets: dict[str, int] = {}
        self.size = 0
        for name, tensor in tensors.items():
            self.offsets[name] = self.size
            self.size += tensor.numel()

    def fill(self, buffer: Tensor, tensors: dict[str, Tensor]) -> None:
        """Write the named tensors into the buffer."""
        for name, offset in self.offsets.items():
            values = self._for_kernels(name, tensors[name]).reshape(-1)
            buffer[offset : offset + len(values)] = values

    def read(self, buffer: Tensor) -> dict[str, Tensor]:
        """Copies of the tensors by name."""
        tensors = {}
        for name, shape in self._shapes.items():
            values = buffer[self.offsets[name] : self.offsets[name] + shape.numel()]
            if name.endswith(PROJECTION):
                subsets = self._subsets(name)
                outs = shape[0] // subsets
                values = values.view(outs, subsets, shape[1]).transpose(0, 1)
            tensors[name] = values.reshape(shape).clone()
        return tensors

    def _for_kernels(self, name: str, tensor: Tensor) -> Tensor:
        """The graph projection's outputs of all subsets are summed: one 1x1 convolution."""
        if not name.endswith(PROJECTION):
            return tensor
        outs, channels = tensor.shape[0] // self._subsets(name), tensor.shape[1]
        return tensor.view(-1, outs, channels).transpose(0, 1)

    def _subsets(self, name: str) -> int:
        return self._shapes[name.removesuffix(PROJECTION) + ".importance"][0]


def _lay_out(
    shapes: Sequence[tuple[int, int, int]], lanes: int, dtype: torch.dtype
) -> tuple[ctypes.Array[_Map], Tensor]:
    """The table of maps and the memory they lie in."""
    per_line = LINE // dtype.itemsize
    places, end = [], 0
    for channels, height, width in shapes:
        lines = -(-height * width * lanes // per_line)
        stride = (lines + 1 - lines % 2) * per_line
        places.append((end, stride))
        end += channels * stride
    memory = torch.zeros(end + per_line, dtype=dtype)
    start = memory.data_ptr() + -memory.data_ptr() % LINE
    maps = (_Map * len(shapes))(
        *(
            _Map(start + offset * dtype.itemsize, *shape, stride)
            for (offset, stride), shape in zip(places, shapes, strict=True)
        )
    )
    return maps, memory
