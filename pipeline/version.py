"""The version of this project, which stands in the signature of every number."""

VERSION = "0.1.0"
