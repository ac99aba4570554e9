"""The warehouse's side: the REST contract, a floor that packs and ships, its staff on demand, and its ledger."""
