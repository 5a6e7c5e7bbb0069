"""Benchmarks: `make bench`. Never tests: a figure depends on the machine, so nothing here fails."""
