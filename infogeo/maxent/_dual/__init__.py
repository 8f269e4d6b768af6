"""The solver: Newton's method on the dual problem, and the proofs of what it finds."""
