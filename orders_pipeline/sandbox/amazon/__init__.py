"""Amazon's side: Login with Amazon, the Selling Partner API, and the state and ledger behind them."""
