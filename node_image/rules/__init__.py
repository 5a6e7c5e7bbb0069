"""Rules: how weights change."""
