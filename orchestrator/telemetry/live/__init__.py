"""The live page: one page in a browser that shows a run while it lasts and afterwards, from its run directory alone."""
