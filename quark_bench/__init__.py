"""quark-bench: benchmark and evaluate pipelines of agents over files of prompts, on Dask."""
