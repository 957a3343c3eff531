"""The decoder's sublayers as compiled functions, for processors; plain torch does the same."""
