"""What every section of `pipelines.yaml` is.

In: values by name. Out: a frozen model of pydantic.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Frozen, strict about unknown keys; docstrings of fields become their descriptions."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
