"""Analysis: run directories in; tables, statistics, figures and reports out."""
