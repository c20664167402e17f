"""What a network is. Rooms, in reading order: spaces, layers, supernet, training, bundle;
data, onnx and machine serve them."""
