"""The models: one module each, with its config, forward pass and generation."""
