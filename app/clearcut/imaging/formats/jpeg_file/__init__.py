"""The structure of JPEG files: reading and repairing it without decoding coefficients."""
