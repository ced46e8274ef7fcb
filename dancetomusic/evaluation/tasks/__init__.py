"""What can be evaluated: one task a module or folder."""
