"""What runs on a device. Imports nothing of the orchestrator: a bare copy of this folder is enough on a board."""
