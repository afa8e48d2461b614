"""The edge model: data, samples, network, losses and training. ``make train-edges`` runs ``data``, then ``train``."""
