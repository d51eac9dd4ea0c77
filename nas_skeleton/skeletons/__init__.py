"""Skeleton data: layouts, readers of raw formats, splits, the prepared store, network inputs.

A data set is a card (`card`) in `datasets/`; its raw files go through a reader (`readers`) into a
prepared, memory-mapped store (`store`), which is what everybody else sees: a `Dataset` with a
layout (`layouts`), splits (`protocols`) and, for a network, one array of inputs (`inputs`). `check`
compares a store with what its card expects. Nothing here knows networks.

Importing the package costs nothing; its modules load what they need.
"""
