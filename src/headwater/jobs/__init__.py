"""Run this, once, with retry, checkpoints and progress: the durable work that other rooms hand in as functions."""
