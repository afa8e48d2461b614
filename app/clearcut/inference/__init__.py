"""Models, ONNX sessions and the batcher: arrays and futures, without images and without HTTP."""
