"""Zero-cost proxies: what a network at its initial weights promises, from one batch of clips.

The 13 of NAS-Bench-Suite-Zero (Krishnakumar et al., NeurIPS 2022) for cells behind any stem.
`names` lists them without torch, `score` computes all of one cell. Nothing here trains, or knows
where scores are kept.
"""
