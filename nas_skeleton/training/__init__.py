"""Training: one job in, one result out, the same wherever and in whatever company it runs.

`job` and `result` say what a training is (no torch in them); `loop` trains one network; `engine`
chooses how; `checkpoint` makes it survive a kill. Nothing here knows strategies or clusters.
"""
