"""From the network's matte to alpha and foreground color at the image's size."""
