"""Models of the outcomes given features of each row: maximum entropy for each row at once."""
