"""Downloads of model files. Only the command line uses this package; the service downloads no models."""
