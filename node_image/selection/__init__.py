"""Selections: which weights a device trains, one way a file."""
