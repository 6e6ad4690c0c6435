"""Core: what the words mean. Noise, fields, kernels, exact laws; imports nothing of the library."""
