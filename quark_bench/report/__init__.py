"""Report: several ways to tell what a run found."""
