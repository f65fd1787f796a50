"""`ove lmm benchmarks`: which benchmarks are known, and which files each expects."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Benchmarks:
    """List the benchmarks that ove lmm eval knows, and the files that each expects in its data folder."""

    json: bool = False
    """Print them as JSON."""

    def run(self) -> int:
        from onevision_encoder.lmm.benchmarks import benchmarks

        known = benchmarks().values()
        if self.json:
            names = ("name", "about", "annotations", "media", "average", "scale")
            print(json.dumps([{name: getattr(one, name) for name in names} for one in known], indent=2))
            return 0
        for one in known:
            print(f"{one.name:15} {one.about}")
            print(f"{'':15}   annotations: {' or '.join(one.annotations)}; media: {one.media}")
        return 0
