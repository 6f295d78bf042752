"""What is asked of pictures: sources, scan, case, verdict, rules, relators, report."""
