"""What a residual does to a network: who reads whom, how much, and what each sublayer is worth."""
