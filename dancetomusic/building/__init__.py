"""Building a set of clips from dance videos: one resumable stage a module."""
