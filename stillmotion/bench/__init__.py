"""Benchmark tables: protocols that train and test several methods alike, cell by cell, on the same clips."""
