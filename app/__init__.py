"""The faces: the command line, one module per group of commands."""
