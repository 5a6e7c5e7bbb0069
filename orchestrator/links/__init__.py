"""Links: what a shape is, and the shapers that make it true."""
