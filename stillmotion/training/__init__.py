"""One training loop for every method: exact steps, exact resume, any number of processes."""
