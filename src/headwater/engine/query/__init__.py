"""parse, plan, optimise, run, shape: from a question as sent to an answer with its facts."""
