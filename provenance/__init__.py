"""Where a picture comes from: credentials, trust lists, labels, traces, marks."""
