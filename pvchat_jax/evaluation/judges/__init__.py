"""Judges rate answers from 0 to 5, as the paper's figures want it: rules, or a chat model; and how far each can be trusted."""
