"""The forecast of a company: its inputs, what a model says, and how such forecasts did before."""
