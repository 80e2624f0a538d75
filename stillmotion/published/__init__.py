"""The literature's numbers as data: one CSV file for each paper or survey, its reader, and accuracy against cost."""
