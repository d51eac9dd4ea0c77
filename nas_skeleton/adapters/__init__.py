"""Other programs that drive this one: their spaces, their experiments, their trials."""
