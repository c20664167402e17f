"""Names that the writers of ONNX files share."""

FLOAT_NODES = ".se_"
"""Part of the names of squeeze-and-excitation's nodes, which stay in float32 at int8: they work on
one value a channel, too few to save time, and an error in a gate scales a whole channel."""
