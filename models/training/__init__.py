"""The recipe that makes Clearcut's default matting network.

Run the modules from the repository's root, e.g. ``python -m models.training.train --config …``:

    data      photographs and mattes packed once into one memory-mapped file
    augment   one packed sample -> one square training picture
    synth     rendered pictures with exact alpha; synth_catalogue: of ready-made 3D models
    network   the convolutional network and its warm start from an ONNX file
    losses    what is minimised
    train     the loop: resumable, bf16, channels-last, CPU and CUDA alike
    export    checkpoint -> ONNX
    variants  ONNX -> int8 and fp16, and the manifest's entries
    evaluate  ONNX -> table of figures by group

None of this is imported by the service; torch is no run-time dependency.
"""
