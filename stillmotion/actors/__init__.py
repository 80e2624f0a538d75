"""The embedded data set: puppets, scenery, rendering."""
