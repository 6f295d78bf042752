"""The wing that learns to tell: models that find signs of machine-made pictures."""
