"""When an answer is not to be trusted: what a run learned for it, and what becomes of a new case."""
