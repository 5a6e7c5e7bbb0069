"""What runs on the experimenter's machine: reads a scenario, plans it, runs it, and writes down what happened."""
