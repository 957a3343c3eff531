"""Measures what residuals cost on this machine, against PreNorm and public implementations."""
