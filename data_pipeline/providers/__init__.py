"""Where facts come from: Finnhub, Yahoo, and price files. Answers are stored as they came."""
