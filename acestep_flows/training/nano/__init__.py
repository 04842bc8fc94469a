"""acestep-nano: the architecture of ACE-Step v1 at about a three-hundredth of its size, and how it is made."""
