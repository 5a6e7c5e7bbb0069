"""What a stranger, a hostile device or a hostile file may try, and that nothing comes of it."""
