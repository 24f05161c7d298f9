"""The journal: forecasts entered before their week opens, in a ledger that shows any change."""
