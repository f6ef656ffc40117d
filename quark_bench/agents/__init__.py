"""Agents: the built-in assistant, written as a user would write theirs."""
