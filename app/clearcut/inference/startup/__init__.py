"""Loading of the model at start: choice of file, device and plan, and the self-test."""
