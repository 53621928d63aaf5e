"""The vocabulary of dicom2clip: records, configuration, run log. Imports nothing of the project
above it."""
