"""Version 1 of ACE-Step: the two REST servers that came with it, at `serve --speak v1`."""
