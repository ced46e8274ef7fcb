"""Files, sound, pictures: in and out, whole or not at all."""
