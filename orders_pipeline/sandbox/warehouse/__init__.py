"""The warehouse's side: the REST contract, a floor that packs and ships, and its ledger."""
