"""A day of orders: who buys what, what happens to it and when, and whether each ended where it should."""
