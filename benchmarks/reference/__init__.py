"""EVL's published computation, stated plainly from its equations, to measure speed against; nothing is reused."""
