"""Execute: several ways to carry out the blocks of a plan."""
