"""Charts that the notebooks show."""
