"""How a scenario and its presets are written in YAML: one file a part, all of them strict."""
