"""Reference pages made from the types themselves, as Markdown, so that they cannot say what the code does not do."""
