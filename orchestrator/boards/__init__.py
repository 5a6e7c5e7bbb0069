"""Physical boards: the inventory that lists them, whether they can take part, and what speaks to them."""
