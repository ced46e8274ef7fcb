"""The stages of a build: one resumable stage a module."""
