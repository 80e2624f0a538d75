"""Results as pages that need no other file: one run, several side by side, the demo.

The figures and pages need the extra `report`; a module that does says so when it is imported.
"""
