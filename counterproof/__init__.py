"""counterproof: where does a picture come from, and did a machine make it?"""

__version__ = "0.1.0"
