"""Scores that count every video exactly once, or say which they could not."""
