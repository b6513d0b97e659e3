"""A believable shop, made from a seed number, and its live trickle."""
