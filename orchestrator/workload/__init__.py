"""Somebody else's programs as what nodes run: from the scenario's words to what an attendant is told, and back."""
