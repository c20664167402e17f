"""What a network is. Each room builds on those before it: `machine` and `layers`, `spaces`, `data`,
`supernet`, `onnx`, `bundle`, `training`."""
