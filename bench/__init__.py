"""The project's own benchmarks, with the physical floors beside them: `python -m bench`.

Every figure is measured on real servers of their own on loopback, turn by turn with its floor, so
that a noisy machine disturbs both alike.
"""
