"""What the commands about enrolled people do on a terminal."""
