from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made import frames, selection

from onevision_encoder.errors import MediaNotFoundError, ShapeError, TokenFileError
from onevision_encoder.tokens import (
    export_positions_thw,
    export_visidx,
    export_visidx_thw,
    import_positions_thw,
    import_visidx,
    import_visidx_thw,
    load_tokens,
    make_tokens,
    save_tokens,
)
from onevision_encoder.types import Kind

FORMATS = [
    (export_positions_thw, import_positions_thw),
    (export_visidx_thw, import_visidx_thw),
    (export_visidx, import_visidx),
]


@pytest.mark.parametrize(("save", "load"), FORMATS)
@pytest.mark.parametrize("T", [1, 5, 64])
def test_round_trip_keeps_the_addresses(tmp_path: Path, save, load, T: int) -> None:  # type: ignore[no-untyped-def]
    chosen = selection((T, 16, 16), 100)
    save(tmp_path / "x.npy", make_tokens(frames(T, 16, 16, patch=2), chosen))
    back = load(tmp_path / "x.npy", num_frames=T, grid=(16, 16))
    assert np.array_equal(back.positions_K3, chosen.positions_K3)


def test_64_frames_of_16x16_match_the_original_layouts(tmp_path: Path) -> None:
    """index = t*256 + h*16 + w and rows (t, h, w): read off the original's writers."""
    chosen = selection((64, 16, 16), 2048)
    tokens = make_tokens(frames(64, 16, 16, patch=2), chosen)
    export_visidx(tmp_path / "a.visidx.npy", tokens)
    export_positions_thw(tmp_path / "positions_thw.npy", tokens)
    flat, rows = np.load(tmp_path / "a.visidx.npy"), np.load(tmp_path / "positions_thw.npy")
    t, h, w = chosen.positions_K3.T
    assert flat.dtype == rows.dtype == np.int32
    assert flat.tolist() == sorted((t * 256 + h * 16 + w).tolist())
    assert np.array_equal(rows, chosen.positions_K3)


def test_visidx_thw_is_best_first(tmp_path: Path) -> None:
    chosen = selection((64, 4, 4), 200)
    tokens = make_tokens(frames(64, 4, 4, patch=2), chosen)
    export_visidx_thw(tmp_path / "a.visidx_thw.npy", tokens)
    rows = [tuple(r) for r in np.load(tmp_path / "a.visidx_thw.npy").tolist()]
    table = {
        tuple(p): (k != Kind.ANCHOR, -s)
        for p, k, s in zip(chosen.positions_K3.tolist(), chosen.kind_K, chosen.score_K, strict=True)
    }
    assert rows == sorted(table, key=lambda p: (*table[p], p))
    back = import_visidx_thw(tmp_path / "a.visidx_thw.npy", num_frames=64, grid=(4, 4))
    ranks = {tuple(p): s for p, s in zip(back.positions_K3.tolist(), back.score_K, strict=True)}
    assert [ranks[r] for r in rows] == list(range(200, 0, -1))


@pytest.mark.parametrize(("save", "load"), FORMATS)
def test_frames_at_their_own_slots_are_written_there(tmp_path: Path, save, load) -> None:  # type: ignore[no-untyped-def]
    """8 chunked frames: slots 3, 9, ... of 64, which are not where virtual time would put them."""
    slot_T = np.array([3, 9, 20, 31, 32, 47, 50, 63])
    chosen = selection((8, 4, 6), 60)
    tokens = make_tokens(replace(frames(T=8), slot_T=slot_T), chosen, time="slots")
    save(tmp_path / "x.npy", tokens)
    t, h, w = chosen.positions_K3.T
    everything = load(tmp_path / "x.npy", num_frames=64, grid=(4, 6))
    assert everything.positions_K3.tolist() == np.stack([slot_T[t], h, w], 1).tolist()
    with pytest.raises(ShapeError, match="slots of 8 frames"):
        load(tmp_path / "x.npy", num_frames=8, grid=(4, 6))
    save_tokens(tmp_path / "x.safetensors", tokens)
    save(tmp_path / "y.npy", load_tokens(tmp_path / "x.safetensors"))
    assert (tmp_path / "y.npy").read_bytes() == (tmp_path / "x.npy").read_bytes()


@pytest.mark.parametrize("times", [[0, 0.5, 1, 2, 3], [0, 1, 1, 2, 3], [0, 1, 2, 3, 64], [-1, 1, 2, 3, 4]])
def test_times_that_call_themselves_slots_and_are_none(tmp_path: Path, times: list[float]) -> None:
    tokens = make_tokens(replace(frames(), slot_T=np.arange(5)), selection((5, 4, 6), 9), time="slots")
    clip = replace(tokens.clips[0], model_time_T=np.array(times, np.float32))
    with pytest.raises(ShapeError, match="one whole slot"):
        export_positions_thw(tmp_path / "x.npy", replace(tokens, clips=(clip,)))


def test_what_cannot_be_said_is_refused(tmp_path: Path) -> None:
    seconds = make_tokens(frames(), selection((5, 4, 6), 9), time="seconds")
    index = make_tokens(frames(T=8), selection((8, 4, 6), 9), time="index")  # 0..7 are slots, but not of 8 frames
    tiled = make_tokens(frames(), selection((5, 4, 6), 9, layout="tiled"))
    long = make_tokens(frames(T=80), selection((80, 4, 6), 9))
    ticks = make_tokens(frames(), selection((5, 4, 6), 9), time="seconds", ticks_per_second=12.5)  # whole slots again
    assert ticks.clips[0].model_time_T.tolist() == [0, 1, 2, 3, 4]
    for tokens in (index, ticks):
        for export in (export_positions_thw, export_visidx_thw, export_visidx):
            with pytest.raises(ShapeError, match="time='virtual' or 'slots'"):
                export(tmp_path / "x.npy", tokens)
    for tokens, cause in ((seconds, "time='virtual'"), (tiled, "tiled"), (long, "at most 64 frames")):
        with pytest.raises(ShapeError, match=cause):
            export_positions_thw(tmp_path / "x.npy", tokens)


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    def saved(array: np.ndarray) -> Path:
        np.save(tmp_path / "x.npy", array)
        return tmp_path / "x.npy"

    with pytest.raises(MediaNotFoundError):
        import_visidx(tmp_path / "absent.npy", num_frames=64, grid=(16, 16))
    (tmp_path / "junk.npy").write_bytes(b"junk")
    with pytest.raises(TokenFileError, match="not a readable"):
        import_visidx(tmp_path / "junk.npy", num_frames=64, grid=(16, 16))
    with pytest.raises(TokenFileError, match=r"\[K, 3\]"):
        import_positions_thw(saved(np.zeros((4, 2), np.int32)), num_frames=64, grid=(16, 16))
    with pytest.raises(ShapeError, match=r"0\.\.16383"):
        import_visidx(saved(np.array([0, 16384])), num_frames=64, grid=(16, 16))
    with pytest.raises(ShapeError, match="slots of 2 frames"):
        import_positions_thw(saved(np.array([[1, 0, 0]])), num_frames=2, grid=(16, 16))
    with pytest.raises(ShapeError, match="repeated rows"):
        import_positions_thw(saved(np.zeros((2, 3), np.int32)), num_frames=64, grid=(16, 16))
    with pytest.raises(ShapeError, match="inside the grid"):
        import_positions_thw(saved(np.array([[0, 16, 0]])), num_frames=64, grid=(16, 16))
