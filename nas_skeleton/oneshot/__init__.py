"""One-shot search: one network that holds all cells, and cells ranked by the weights they inherit.

What the ranking is worth is told by trainings from scratch, which are not made here.
"""
