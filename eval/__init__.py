"""Checkpoint and shards -> scores. Imports study, shards and train; nothing imports it but the
command."""
