"""Proxies of how alike a network treats different clips: by its gradients, or by its ReLUs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nas_skeleton.proxies.probe import Probe

K = 1e-5  # keeps logarithms and quotients finite
MANY_CLASSES = 100  # above, EPE-NAS compares classes by means


def jacov(probe: Probe) -> float:
    """`-sum log(v + K) + 1 / (v + K)` over the eigenvalues v of the Jacobian's correlations.

    Mellor et al., "Neural Architecture Search without Training", version 1 (arXiv 2006.04647v1).
    The Jacobian is that of the sum of all logits by each clip. Not a number where a clip does not
    matter to the logits.
    """
    correlations = _correlations(probe.jacobian)
    if not correlations.isfinite().all():
        return math.nan
    values = torch.linalg.eigvalsh(correlations) + K  # symmetric: no complex ones, unlike `eig`
    return -float((values.log() + 1 / values).sum())


def epe_nas(probe: Probe) -> float:
    """`sum |s_c|` over the classes c, `s_c = sum log(|correlations of c's clips| + K)`.

    Lopes et al., "EPE-NAS", ICANN 2021; the Jacobian is that of `jacov`. For more than 100 classes
    s_c is divided by the number of c's clips, and the score is the sum of `|s_c - s_d|` over all
    ordered pairs of classes, divided by the number of classes in the batch.
    """
    sums = []
    for label in sorted(set(probe.labels.tolist())):
        correlations = _correlations(probe.jacobian[probe.labels == label])
        logarithms = (correlations.abs() + K).log().sum().item()
        many = probe.classes > MANY_CLASSES
        sums.append(logarithms / len(correlations) if many else logarithms)
    if probe.classes <= MANY_CLASSES:
        return sum(map(abs, sums))
    return sum(abs(one - other) for one in sums for other in sums) / len(sums)


def nwot(probe: Probe) -> float:
    """`log |det K|`, K the number of ReLU inputs at which two clips are alike, see `Probe`.

    Mellor et al., "Neural Architecture Search without Training", ICML 2021.
    """
    return float(torch.linalg.slogdet(probe.agreement).logabsdet)


def _correlations(rows: Tensor) -> Tensor:
    """Pearson correlations of the rows, in float64; not a number for a constant row."""
    return torch.corrcoef(rows.double()).reshape(len(rows), len(rows))
