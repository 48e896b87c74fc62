"""Plain data: requests, results and answers."""
