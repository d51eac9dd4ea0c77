"""The supernet: stem and macro skeleton of a candidate, with all five operations on every edge.

All 15,625 cells are paths through it and share its weights. A path computes exactly what the
candidate network does with the same weights (`network.candidate`), dead edges left out likewise.

Batch norms keep no running statistics: they would be averages over paths and fit none. Training
uses those of the batch, as it does for candidates; `ranking` measures them anew for each cell.
"""

from __future__ import annotations

from torch import Tensor, nn

from nas_skeleton.network.build import candidate_network
from nas_skeleton.network.candidate import CandidateNetwork
from nas_skeleton.network.cell import CONVOLUTIONS, Bias, ConvNorm, UsedEdge, edge_name, flow
from nas_skeleton.network.operations import Operations
from nas_skeleton.skeletons.layouts import Layout
from nas_skeleton.spaces.card import SpaceCard
from nas_skeleton.spaces.cell import AVG_POOL, EDGES, NODES, NONE, OPERATIONS, SKIP, Cell
from nas_skeleton.spaces.liveness import Role, roles
from nas_skeleton.spaces.recipe import Recipe


class SharedCell(nn.Module):
    """All cells in one place, `(N, C, T, V)` to the same shape.

    Each edge has convolutions of its own; pools have no weights, so there is one.
    """

    def __init__(self, channels: int, operations: Operations) -> None:
        super().__init__()
        self.pool = operations.pool()
        self.skip = nn.Identity()
        self._modules_of: list[dict[str, nn.Module]] = []
        self._biases_of: list[dict[str, nn.Module]] = []
        for source, target in EDGES:
            convolutions = {
                name: ConvNorm(operations.convolution(name, channels)) for name in CONVOLUTIONS
            }
            self.add_module(edge_name(source, target), nn.ModuleDict(convolutions))
            free = {"skip_connect": self.skip, "avg_pool_3x3": self.pool}
            self._modules_of.append({**convolutions, **free})
            self._biases_of.append(
                {name: Bias(channels, conv.norm) for name, conv in convolutions.items()}
            )

    def forward(self, maps: Tensor, cell: Cell, scales: Tensor | None = None) -> Tensor:
        """The output of `cell`; `scales` `(edges,)` multiplies what each edge contributes."""
        used: list[UsedEdge] = []
        factors: list[Tensor] = []
        for edge, ((source, target, name), role) in enumerate(
            zip(cell.named_edges(), roles(cell), strict=True)
        ):
            if role is Role.DEAD:
                continue
            modules = self._biases_of if role is Role.BIAS else self._modules_of
            used.append((source, target, modules[edge][name]))
            if scales is not None:
                factors.append(scales[edge])
        return flow(maps, used, factors)

    def mixture(self, maps: Tensor, shares: Tensor) -> Tensor:
        """The output with the mean of all operations, weighed by `shares` `(edges, operations)`."""
        nodes, activated, pooled = [maps], [maps.relu()], [self.pool(maps)]
        for target in range(1, NODES):
            total = None
            for source in range(target):
                edge = EDGES.index((source, target))
                share, modules = shares[edge], self._modules_of[edge]
                terms = share[SKIP] * nodes[source] + share[AVG_POOL] * pooled[source]
                for name in CONVOLUTIONS:
                    terms = terms + share[OPERATIONS.index(name)] * modules[name](activated[source])
                total = terms if total is None else total + terms
            assert total is not None
            nodes.append(total)
            if target < NODES - 1:
                activated.append(total.relu())
                pooled.append(self.pool(total))
        return nodes[-1]


class Supernet(nn.Module):
    """Class scores `(N, classes)` of clips `(N, C, T, V, M)` by any cell, or by all mixed."""

    def __init__(self, network: CandidateNetwork) -> None:
        super().__init__()
        self.network = network
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.track_running_stats = False
                module.running_mean = module.running_var = module.num_batches_tracked = None

    def forward(self, clips: Tensor, cell: Cell, scales: Tensor | None = None) -> Tensor:
        """The scores of one path, the same cell everywhere; `scales` as in `SharedCell`."""
        maps = self.network.stem(clips)
        for block in self.network.blocks:
            maps = block(maps, cell, scales) if isinstance(block, SharedCell) else block(maps)
        return self.network.head(maps, clips.shape[-1])

    def mixture(self, clips: Tensor, shares: Tensor) -> Tensor:
        """The scores of all operations mixed on every edge, by `shares` `(edges, operations)`."""
        maps = self.network.stem(clips)
        for block in self.network.blocks:
            maps = block.mixture(maps, shares) if isinstance(block, SharedCell) else block(maps)
        return self.network.head(maps, clips.shape[-1])

    def fix_affine(self) -> None:
        """Let the batch norms of operations keep their scale one and bias zero.

        For methods that weigh operations: a scale that is learnt undoes a weight (Liu et al., ICLR
        2019, appendix).
        """
        for module in self.network.modules():
            if isinstance(module, ConvNorm):
                module.norm.requires_grad_(False)

    def inherited(self, cell: Cell) -> dict[str, Tensor]:
        """The weights of a cell, by the names of its candidate network; dead edges included."""
        chosen = {edge_name(source, target): name for source, target, name in cell.named_edges()}
        weights: dict[str, Tensor] = {}
        for name, parameter in self.network.named_parameters():
            parts = name.split(".")
            operation = chosen.get(parts[2]) if len(parts) > 3 else None
            # "blocks.3.edge_0_1.nor_conv_3x3.conv.weight": a candidate knows no "nor_conv_3x3".
            if operation is None or parts.pop(3) == operation:
                weights[".".join(parts)] = parameter
        return weights


def build_supernet(
    card: SpaceCard, recipe: Recipe, *, classes: int, layout: Layout, in_channels: int
) -> Supernet:
    """The supernet without particular weights; for arguments see `network.build`."""
    network = candidate_network(
        card,
        recipe,
        Cell((NONE,) * len(EDGES)),  # stands for all
        classes=classes,
        layout=layout,
        in_channels=in_channels,
        build_cell=lambda _, channels, operations: SharedCell(channels, operations),
    )
    return Supernet(network)
