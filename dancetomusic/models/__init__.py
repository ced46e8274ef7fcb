"""The models: one folder each, with network, generation and training task."""
