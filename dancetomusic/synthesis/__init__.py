"""Movement, music and pictures made by rule, so that the truth about them is known."""
