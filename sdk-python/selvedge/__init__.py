"""Exports fitted scikit-learn pipelines for Selvedge.

import selvedge
selvedge.export(pipeline, X, "model.json")      # then: selvedge build model.json -o model.wasm
"""

from .export import Export, Mismatch, export
from .tape import Unsupported

__all__ = ["Export", "Mismatch", "Unsupported", "export"]
__version__ = "0.1.0"
