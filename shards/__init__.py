"""The dataset on disk, the contract between ingestion and training.

`writer` turns studies into tar shards with sidecars, each shard committed by its own record;
`catalog` finishes them into a dataset with an index; `reader` gives the very studies back, or
single scans at the speed of memory; `order` says who reads what when; `preview` and `cli` are for
people who look. The format is described in README.md beside this file. Imports `study` and nothing
else of the project.
"""
