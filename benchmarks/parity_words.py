"""What docs/parity.md says around its tables; `parity.py` writes the page."""

INTRO = """# Parity

What the papers print, what their releases compute, and what this code computes. `python benchmarks/parity.py` writes
this page from shapes alone, so it needs no weights, no GPU and about a minute; `stillmotion count METHOD` prints the
same for any method, option and size.

A GMAC is 10^9 multiply-accumulates of matrix products, convolutions and attention; norms, softmax and sums are not
counted. The papers call them GFLOPs. **Release** is the arithmetic of the official code; **ours** is what runs here:
the same outputs, to the tolerances at the end of this page, by shorter ways where there are any. EVL's one query is
folded into the key matrix, and tokens are pooled before the value matrix, which takes its decoder's projections of all
tokens away; its tables of relative positions are read through windows instead of a gather, which is more arithmetic and
less time. X-CLIP's release computes what its message token reads and drops it.
"""

EVL_WORK = """## Work: EVL

GMAC of one view and, in brackets, of three, which is what the paper prints. T-CA is temporal cross-attention: the
printed work of B/16 on Kinetics-400 leaves it out, that of L/14 has it in, and the released scripts always train it.
"""

OTHER_WORK = """## Work: the others

GMAC of one view. Text towers are excluded, as in the papers: class names are encoded once per class list.
"""

EVL_PARAMETERS = """## Parameters: EVL

New parameters (decoder and head), in millions. They are the release's own tensors: its checkpoints load strictly.
"""

OTHER_PARAMETERS = """## Parameters: the others

The three totals that are compared with each other in print are not counted alike.
"""

LIKE_FOR_LIKE = """## Like for like

Everything counted, in one way: B/16, 16 frames, 400 classes. As written is the release's arithmetic where there is
one; STEP's layer, as written, also computes what nothing reads. Text is what a class list costs, once, at 77 tokens a
prompt; ActionCLIP has 16 prompts for a class.
"""

OUTPUTS = """## Outputs

Each line is a test in this repository. Official code was run on seeded weights and its intermediate and final tensors
kept; the same weights, loaded from their official names, must give them again. Methods without a release are held
against their equations, written plainly, in float64.
"""
