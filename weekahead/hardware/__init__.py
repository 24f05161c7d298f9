"""Cards, sizes of bases, and what follows: memory and time of a training, without torch."""
