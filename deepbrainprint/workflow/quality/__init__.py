"""What happened to one input, step by step, for the person who asks why it was refused."""
