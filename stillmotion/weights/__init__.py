"""Foreign files in: readers, names, the hub, the int8 wheel. Nothing in a file is run."""
