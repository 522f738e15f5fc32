"""Several training sets become one, with questions about everybody at once."""
