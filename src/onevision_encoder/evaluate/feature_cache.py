"""Features of clips on disk, found again by what they were made of.

The name of an entry is a digest of everything that decides its numbers: the content of the source, the stretch of it,
the whole reading configuration, the backbone's own description, and this version. An entry that is cut short, altered
or of another key is never used: it is computed again, and counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.errors import OneVisionError
from onevision_encoder.tokens.described import Form
from onevision_encoder.tokens.keyed_folder import KeyedFolder, canonical


class FeatureFileError(OneVisionError):
    """A file of the cache is not what its name says."""


FORM = Form(
    noun="a file of cached features",
    error=FeatureFileError,
    schema=1,
    tensors={"features": np.float32},
    optional={},
    fields={"key": dict, "digest": str},
)


class FeatureCache(KeyedFolder):
    """A folder of entries."""

    def get(self, key: Mapping[str, Any]) -> NDArray[np.float32] | None:
        """Float32 [L, C], or None: not there, or unusable (then noted in ``corrupt``)."""
        path = self.path(key)
        if not path.is_file():
            return None
        try:
            described, arrays = FORM.read(path)
            features: NDArray[np.float32] = arrays["features"]
            if described["digest"] != _digest(features):
                raise FeatureFileError(f"{path}: the features are not those that were stored")
            if canonical(described["key"]) != canonical(key):
                raise FeatureFileError(f"{path}: holds the features of something else")
        except FeatureFileError as error:
            self.corrupt.append(str(error))
            return None
        self.found += 1
        return features

    def put(self, key: Mapping[str, Any], features_LC: NDArray[np.float32]) -> None:
        """Store an entry, whole or not at all. Raises WriteError."""
        FORM.write(self.path(key), {"features": features_LC}, key=dict(key), digest=_digest(features_LC))
        self.stored += 1


def _digest(features: NDArray[np.float32]) -> str:
    whole = hashlib.blake2b(str(features.shape).encode(), digest_size=16)
    whole.update(np.ascontiguousarray(features).data)
    return whole.hexdigest()
