"""When a study is complete: learned quiet times, gaps, recounts, duplicates."""
