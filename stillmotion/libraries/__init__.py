"""Models of other libraries beside ours."""
