"""Questions about what was received, asked by C-FIND or QIDO-RS, and their answers."""
