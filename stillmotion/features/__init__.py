"""A frozen backbone's features, computed once and kept: what is stored, how much it takes, and how it is read."""
