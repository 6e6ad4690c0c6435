"""Baselines: what the models are measured against, one file each."""
