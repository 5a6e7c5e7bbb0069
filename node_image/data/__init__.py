"""Data: one data set a file, and how it is shared out."""
