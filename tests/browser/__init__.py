"""What a person sees in a browser, driven by one: Debian's chromium, without its own download."""
