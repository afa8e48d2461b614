"""Many images at once: the processing of one file, file stores, listings, and runs on a Ray cluster."""
