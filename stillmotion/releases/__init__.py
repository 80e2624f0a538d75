"""The authors' checkpoints, there and back."""
