"""Background traffic: packets of others on the links of a run, planned flow by flow and drawn packet by packet."""
