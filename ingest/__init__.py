"""DICOM and reports -> studies -> shards: crawl, group, read pixels, resample, join texts, as a
dask job."""
