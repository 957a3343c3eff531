"""Evidence for choosing a residual connection: train, score, fit and report residual variants."""

__version__ = "0.1.0"
