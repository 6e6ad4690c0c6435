"""Benches: what is promised of speed and accuracy, measured by one command each."""
