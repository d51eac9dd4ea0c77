"""Scheduling: which jobs a run still needs, who trains them, and what happens on signals.

Knows jobs, workers and signals; never what a network is.
"""
