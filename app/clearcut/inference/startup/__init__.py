"""Loading a model: choice of precision, autotuning, self-test and the cache of earlier measurements."""
