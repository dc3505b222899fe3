"""The judges: everything that turns generated texts into numbers, tables and figures."""
