"""How fast, how exact and how heavy each runtime of the encoder is, side by side in one run."""
