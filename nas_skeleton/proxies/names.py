"""The names of the proxies, for whoever keeps or reads scores. No torch in this module."""

from __future__ import annotations

# The honest baselines first: what a proxy must beat to be worth its name.
PROXIES = (
    "params",
    "flops",
    "l2_norm",
    "grad_norm",
    "snip",
    "grasp",
    "plain",
    "fisher",
    "synflow",
    "jacov",
    "epe_nas",
    "nwot",
    "zen",
)
