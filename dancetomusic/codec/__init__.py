"""Neural codecs: sound to a few discrete codes a frame, and back."""
