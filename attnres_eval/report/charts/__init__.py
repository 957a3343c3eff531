"""The interactive charts of a page: Vega-Lite over the numbers of its tables."""
