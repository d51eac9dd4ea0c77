"""Benchmarks: how fast this machine trains candidates, engine against engine.

`measure` is the entry; `thesis_loop` is what is compared with, `roofline` what the machine could
do, `bookkeeping` what a run costs beside its trainings. Nothing here changes a result.
"""
