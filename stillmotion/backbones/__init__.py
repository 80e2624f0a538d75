"""The towers that frames go through, and the weights that fill them."""
