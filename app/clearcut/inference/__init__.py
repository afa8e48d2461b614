"""The network and the batcher in front of it: arrays and futures, no pictures and no HTTP."""
