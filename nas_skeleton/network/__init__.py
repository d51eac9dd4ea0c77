"""Networks: stems, the cell, the candidate network, and the plain reference of the same.

Plain `nn.Module`s, input `(N, C, T, V, M)`, output `(N, classes)`. Nothing here knows files,
recipes' schedules or schedulers.
"""
