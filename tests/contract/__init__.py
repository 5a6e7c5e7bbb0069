"""One suite over everything of a kind: algorithms, faults, substrates, shapers."""
