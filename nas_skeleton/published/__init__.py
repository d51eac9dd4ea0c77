"""Published tables: a folder of open files that vouches for itself, and the class that reads it.

`publish` makes the folder from runs, `check` looks whether it is sound, `benchmark` answers
questions. Nothing here trains.
"""
