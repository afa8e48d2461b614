"""Matting: from the network's output to alpha and foreground color."""
