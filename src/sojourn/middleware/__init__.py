"""What every door shares: the exchange, its driver in either colour, and the view of other sessions."""
