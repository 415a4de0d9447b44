"""What is learned: priors, networks, steppers, their fast evaluation, and how far they reach."""
