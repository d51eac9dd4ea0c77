"""A candidate as a program for the kernels: maps, offsets of parameters, operations in order.

Every method of `Program` adds an operation for the way forward and remembers what to do on the way
back; `finish` writes that down in reverse. Gradients of maps are stored by the first operation that
reaches them and added to by the others; a ReLU has no operation on the way back, because those
behind it mask what they write (`Map.mask`). Nothing here computes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

FIELDS = 16  # integers per operation, the code first


class Code(IntEnum):
    """Operations, in the order of `Code` in program.cpp."""

    GATHER = 0
    CONVOLUTION = 1
    CONVOLUTION_INPUT = 2
    CONVOLUTION_WEIGHTS = 3
    NORM = 4
    NORM_BACKWARD = 5
    BIAS = 6
    BIAS_BACKWARD = 7
    POOL = 8
    POOL_BACKWARD = 9
    REDUCE = 10
    REDUCE_BACKWARD = 11
    RELU = 12
    COPY = 13
    ZERO = 14
    GRAPH = 15
    GRAPH_BACKWARD = 16
    GRAPH_BIAS = 17
    GRAPH_BIAS_BACKWARD = 18
    ACTIONAL = 19
    ACTIONAL_BACKWARD = 20
    HEAD = 21
    SGD = 22


@dataclass(frozen=True)
class Map:
    """A map of the network, by its number in the table of maps.

    `source` is the map that owns its gradient (itself, but for a ReLU of another map) and `mask`
    the ReLU's output, or -1.
    """

    number: int
    channels: int
    height: int
    width: int
    source: int
    mask: int = -1

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height (frames), width (joints)."""
        return self.channels, self.height, self.width


@dataclass(frozen=True)
class Links:
    """Connected pairs of a graph: `ends` `(links, 3)` of (subset, from, to), and their weights."""

    ends: NDArray[np.int64]
    adjacency: NDArray[np.float64]
    subsets: int
    joints: int

    @property
    def fields(self) -> tuple[int, int, int, int, int]:
        """As the kernels take them; the arrays must outlive the program."""
        return (
            self.ends.ctypes.data,
            self.adjacency.ctypes.data,
            len(self.ends),
            self.subsets,
            self.joints,
        )


class Program:
    """Builds the operations of one training step.

    Args:
        offsets: of every parameter by name, in one flat buffer.
        statistics: offset of every batch norm's running mean by the norm's name; its variance
            follows. The same offsets serve for what a batch's statistics leave for the way back.
    """

    def __init__(self, offsets: dict[str, int], statistics: dict[str, int]) -> None:
        self._offsets = offsets
        self._statistics = statistics
        self.shapes: list[tuple[int, int, int]] = []
        self._forward: list[list[int]] = []
        self._backward: list[list[int]] = []
        self._tape: list[Callable[[], None]] = []
        self._gradients: dict[int, int] = {}  # number of a map -> number of its gradient
        self._free: list[int] = []
        self._links: list[Links] = []

    def map(self, channels: int, height: int, width: int) -> Map:
        """A new map."""
        self.shapes.append((channels, height, width))
        number = len(self.shapes) - 1
        return Map(number, channels, height, width, number)

    def gather(
        self, shape: tuple[int, int, int], clip: tuple[int, int, int], *, first: int = 0
    ) -> Map:
        """The clips of the batch, or some of their channels and their first frames.

        Args:
            shape: channels, frames and joints that are wanted.
            clip: channels, frames and joints of a clip.
            first: the first channel that is wanted.
        """
        out = self.map(*shape)
        self._add(Code.GATHER, out.number, first, *clip[:2])
        return out

    def relu(self, x: Map) -> Map:
        """ReLU; of a ReLU's output it is that output."""
        if x.mask == x.number:
            return x
        out = self.map(*x.shape)
        self._add(Code.RELU, x.number, out.number)
        return Map(out.number, *x.shape, source=x.source, mask=out.number)

    def convolution(
        self,
        x: Map,
        name: str,
        channels: int,
        kernel: tuple[int, int],
        *,
        stride: tuple[int, int] = (1, 1),
        bias: str = "",
        into: Map | None = None,
        differentiate: bool = True,
    ) -> Map:
        """Convolution padded by half the kernel; added to `into` if given.

        `bias` must be followed by a batch norm: then its gradient is zero and is not computed.
        """
        height, width = -(-x.height // stride[0]), -(-x.width // stride[1])
        out = into or self.map(channels, height, width)
        weights = self._offsets[name]
        shape = (*kernel, *stride)
        self._add(
            Code.CONVOLUTION,
            x.number,
            out.number,
            weights,
            self._offsets[bias] if bias else -1,
            *shape,
            int(into is not None),
        )

        def back() -> None:
            gradient = self._gradient_of(out)
            if gradient is None:
                return
            self._back(Code.CONVOLUTION_WEIGHTS, x.number, gradient, weights, *shape)
            if differentiate:
                sink = self._sink(x)
                self._back(Code.CONVOLUTION_INPUT, x.number, gradient, weights, *shape, *sink)
            self._release(out, into)

        self._tape.append(back)
        return out

    def norm(
        self,
        x: Map,
        name: str,
        *,
        into: Map | None = None,
        relu: bool = False,
        per_joint: bool = False,
        differentiate: bool = True,
    ) -> Map:
        """Batch norm, with a ReLU if asked; added to `into` if given.

        `x` must be of no use to any other operation: on the way back its gradient takes its place.
        With `differentiate` false only the norm's own parameters get a gradient.
        """
        out = into or self.map(*x.shape)
        weights, bias = self._offsets[f"{name}.weight"], self._offsets[f"{name}.bias"]
        running = self._statistics[name]
        flags = int(per_joint), int(into is not None), int(relu)
        self._add(Code.NORM, x.number, out.number, weights, bias, running, running, *flags)
        if relu:
            out = Map(out.number, *x.shape, source=out.number, mask=out.number)

        def back() -> None:
            gradient = self._gradient_of(out)
            if gradient is None:
                return
            self._back(
                Code.NORM_BACKWARD,
                x.number,
                gradient,
                weights,
                bias,
                running,
                int(per_joint),
                int(not differentiate),
            )
            self._gradients[x.number] = x.number
            self._release(out, into)

        self._tape.append(back)
        return out

    def bias(self, shape: tuple[int, int, int], name: str, *, into: Map | None = None) -> Map:
        """One value per channel; added to `into` if given."""
        out = into or self.map(*shape)
        offset = self._offsets[name]
        self._add(Code.BIAS, out.number, offset, int(into is not None))

        def back() -> None:
            gradient = self._gradient_of(out)
            if gradient is not None:
                self._back(Code.BIAS_BACKWARD, gradient, offset)
                self._release(out, into)

        self._tape.append(back)
        return out

    def pool(self, x: Map, window: tuple[int, int], *, into: Map | None = None) -> Map:
        """Average over the positions of a 3x3 or 3x1 window inside the map; added to `into`."""
        out = into or self.map(*x.shape)
        across = window[1]
        self._add(Code.POOL, x.number, out.number, int(into is not None), across)

        def back() -> None:
            gradient = self._gradient_of(out)
            if gradient is not None:
                self._back(Code.POOL_BACKWARD, gradient, *self._sink(x), across)
                self._release(out, into)

        self._tape.append(back)
        return out

    def copy(self, x: Map, *, into: Map | None = None) -> Map:
        """The map itself, in a place of its own; added to `into` if given."""
        out = into or self.map(*x.shape)
        self._add(Code.COPY, x.number, out.number, -1, int(into is not None))

        def back() -> None:
            gradient = self._gradient_of(out)
            if gradient is not None:
                self._back(Code.COPY, gradient, *self._sink(x))
                self._release(out, into)

        self._tape.append(back)
        return out

    def reduce(self, x: Map, stride: tuple[int, int]) -> Map:
        """Means of windows of the size of `stride`, side by side."""
        out = self.map(x.channels, -(-x.height // stride[0]), -(-x.width // stride[1]))
        self._add(Code.REDUCE, x.number, out.number, *stride)

        def back() -> None:
            gradient = self._gradient_of(out)
            if gradient is not None:
                self._back(Code.REDUCE_BACKWARD, x.number, gradient, *stride, *self._sink(x))
                self._release(out)

        self._tape.append(back)
        return out

    def zero(self, shape: tuple[int, int, int]) -> Map:
        """A map of zeros."""
        out = self.map(*shape)
        self._add(Code.ZERO, out.number)
        return out

    def graph(self, x: Map, links: Links, importance: str = "") -> Map:
        """Sums over neighbours in each subset, subsets before channels.

        Weights are the adjacency, times the parameter `importance` if given.
        """
        self._links.append(links)
        out = self.map(links.subsets * x.channels, x.height, x.width)
        offset = self._offsets[importance] if importance else -1
        self._add(Code.GRAPH, x.number, out.number, *links.fields, offset)

        def back() -> None:
            gradient = self._gradient_of(out)
            if gradient is not None:
                fields = (x.number, gradient, *links.fields, offset)
                self._back(Code.GRAPH_BACKWARD, *fields, *self._sink(x))
                self._release(out)

        self._tape.append(back)
        return out

    def graph_bias(self, into: Map, importance: str, bias: str, links: Links) -> None:
        """The projection's bias, weighted by the links into each joint, added to `into`."""
        fields = (*links.fields, self._offsets[importance], self._offsets[bias])
        self._add(Code.GRAPH_BIAS, into.number, *fields)

        def back() -> None:
            gradient = self._gradient_of(into)
            if gradient is not None:
                self._back(Code.GRAPH_BIAS_BACKWARD, gradient, *fields)

        self._tape.append(back)

    def actional(self, x: Map, links: Map, types: int, weight: float) -> Map:
        """Sums over all joints, by links of each clip and body, types before channels.

        Args:
            x: `(C, T, V)`.
            links: `(types * V, 1, V)`, see `network.links`.
            types: kinds of links.
            weight: what the sums are multiplied by.
        """
        out = self.map(types * x.channels, x.height, x.width)
        [bits] = struct.unpack("q", struct.pack("d", weight))
        self._add(Code.ACTIONAL, x.number, links.number, out.number, types, bits)

        def back() -> None:
            gradient = self._gradient_of(out)
            if gradient is not None:
                fields = (x.number, links.number, gradient, types, bits)
                self._back(Code.ACTIONAL_BACKWARD, *fields, *self._sink(x))
                self._release(out)

        self._tape.append(back)
        return out

    def head(self, x: Map, weights: str, bias: str) -> None:
        """Means, classifier and loss; where the way back begins."""
        gradient = self.map(*x.shape).number
        self._gradients[x.source] = gradient
        offsets = self._offsets[weights], self._offsets[bias]
        self._add(Code.HEAD, x.number, *offsets, gradient)

    def finish(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The operations of a forward pass, and those of a whole step, `(operations, FIELDS)`."""
        for back in reversed(self._tape):
            back()
        step = self._forward + self._backward + [[int(Code.SGD)]]
        return _table(self._forward), _table(step)

    def _add(self, *operation: int) -> None:
        self._forward.append(list(operation))

    def _back(self, *operation: int) -> None:
        self._backward.append(list(operation))

    def _gradient_of(self, out: Map) -> int | None:
        """The gradient of `out`, complete by now; None if nothing depends on it."""
        return self._gradients.get(out.source)

    def _sink(self, x: Map) -> tuple[int, int, int]:
        """Where an operation writes the gradient of its input: map, mask, and whether to add."""
        known = self._gradients.get(x.source)
        if known is None:
            free = next((n for n in self._free if self.shapes[n] == x.shape), None)
            if free is not None:
                self._free.remove(free)
            self._gradients[x.source] = self.map(*x.shape).number if free is None else free
        return self._gradients[x.source], x.mask, int(known is not None)

    def _release(self, out: Map, into: Map | None = None) -> None:
        """The gradient of `out` has been used up; its place serves for another.

        Where several operations add to one map, the first of them is the last on the way back.
        """
        if into is None:
            self._free.append(self._gradients[out.source])


def _table(operations: list[list[int]]) -> NDArray[np.int64]:
    table = np.zeros((len(operations), FIELDS), dtype=np.int64)
    for row, operation in zip(table, operations, strict=True):
        row[: len(operation)] = operation
    return table
