"""Simulation: the same coroutines on a clock that jumps."""
