"""A trained model as one file, and what to do with it."""
