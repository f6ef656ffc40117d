"""Scoring: several ways to judge the answer of one record."""
