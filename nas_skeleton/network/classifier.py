"""What every network that is trained here is: clips in, class scores out, and a loss to go down."""

from __future__ import annotations

from torch import Tensor, nn


class Classifier(nn.Module):
    """A network for clips `(N, C, T, V, M)` that gives class scores `(N, classes)`."""

    def loss(self, clips: Tensor, labels: Tensor) -> Tensor:
        """What training minimises, a tensor without dimensions: the mean cross-entropy.

        Args:
            clips: `(N, C, T, V, M)`.
            labels: `(N,)`, int64.
        """
        return nn.functional.cross_entropy(self(clips), labels)
