"""tokens/: from a selection to the pixels of exactly those patches, packed, stored and exchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onevision_encoder.lazy import lazy_names

if TYPE_CHECKING:
    from onevision_encoder.tokens.canvas_import import import_canvases as import_canvases
    from onevision_encoder.tokens.canvases import canvas_bounds as canvas_bounds
    from onevision_encoder.tokens.canvases import canvas_folder_name as canvas_folder_name
    from onevision_encoder.tokens.canvases import export_canvases as export_canvases
    from onevision_encoder.tokens.files import atomic_path as atomic_path
    from onevision_encoder.tokens.files import write_atomically as write_atomically
    from onevision_encoder.tokens.formats import (
        export_positions_thw as export_positions_thw,
    )
    from onevision_encoder.tokens.formats import export_visidx as export_visidx
    from onevision_encoder.tokens.formats import export_visidx_thw as export_visidx_thw
    from onevision_encoder.tokens.formats import import_positions_thw as import_positions_thw
    from onevision_encoder.tokens.formats import import_visidx as import_visidx
    from onevision_encoder.tokens.formats import import_visidx_thw as import_visidx_thw
    from onevision_encoder.tokens.mosaics import export_mosaics as export_mosaics
    from onevision_encoder.tokens.mosaics import import_mosaics as import_mosaics
    from onevision_encoder.tokens.ordering import order_permutation as order_permutation
    from onevision_encoder.tokens.ordering import reorder as reorder
    from onevision_encoder.tokens.packing import make_tokens as make_tokens
    from onevision_encoder.tokens.packing import pack as pack
    from onevision_encoder.tokens.packing import unpack as unpack
    from onevision_encoder.tokens.patches import gather as gather
    from onevision_encoder.tokens.patches import patchify as patchify
    from onevision_encoder.tokens.patches import unpatchify as unpatchify
    from onevision_encoder.tokens.pipeline import ClipReading as ClipReading
    from onevision_encoder.tokens.pipeline import TokenizeConfig as TokenizeConfig
    from onevision_encoder.tokens.pipeline import read_clip as read_clip
    from onevision_encoder.tokens.pipeline import tokenize as tokenize
    from onevision_encoder.tokens.positions import model_positions as model_positions
    from onevision_encoder.tokens.positions import model_time as model_time
    from onevision_encoder.tokens.store import load_tokens as load_tokens
    from onevision_encoder.tokens.store import save_tokens as save_tokens

_HOME = {
    "canvas_bounds": "canvases",
    "canvas_folder_name": "canvases",
    "export_canvases": "canvases",
    "import_canvases": "canvas_import",
    "export_mosaics": "mosaics",
    "import_mosaics": "mosaics",
    "order_permutation": "ordering",
    "reorder": "ordering",
    "atomic_path": "files",
    "write_atomically": "files",
    "export_positions_thw": "formats",
    "export_visidx": "formats",
    "export_visidx_thw": "formats",
    "import_positions_thw": "formats",
    "import_visidx": "formats",
    "import_visidx_thw": "formats",
    "make_tokens": "packing",
    "pack": "packing",
    "unpack": "packing",
    "gather": "patches",
    "patchify": "patches",
    "unpatchify": "patches",
    "ClipReading": "pipeline",
    "TokenizeConfig": "pipeline",
    "read_clip": "pipeline",
    "tokenize": "pipeline",
    "model_positions": "positions",
    "model_time": "positions",
    "load_tokens": "store",
    "save_tokens": "store",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
