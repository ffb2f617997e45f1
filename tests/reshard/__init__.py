"""Seeded random sequences of everything that can happen to a resharded stream and its reader.

`plan` draws a sequence's steps from its seed, `driver` runs them with the real service over a real
server, `states` tells what a kill -9 fell into, and `verdict` compares every final count with a
plain group-by of what was written. `python -m tests.reshard SERVER SEED` repeats one sequence.
"""
