"""Who are you, and may you: keys and scopes."""
