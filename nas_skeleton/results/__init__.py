"""Results: the columns of the table, a store that survives a kill, and what is read from it.

No torch here, so that tables load on any machine in a moment.
"""
