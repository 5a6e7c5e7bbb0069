"""Telemetry: views of the records while a run lasts."""
