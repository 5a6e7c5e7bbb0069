"""What `edgebed new` writes: files that run as they are, in which MINE stands for the name that the user gives."""
