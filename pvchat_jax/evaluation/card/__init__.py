"""The card: what systems answered, scored and compared, with what speaks against trusting it."""
