"""CLIP's towers, the container of every method, and the weights that fill them.

Shape letters, used in `models/` and `methods/`:

    B videos   T frames   L tokens per frame (class token first)   P patches per frame (L = 1 + P)
    D tower width   E joint width   K classes   S text length, or tokens in all   H heads   d width of a head
    M decoder layers   gh, gw   patch grid height and width
"""
