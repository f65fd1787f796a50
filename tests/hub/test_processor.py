"""The processor on videos, and on images and videos together, through the model."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clips import moving_square, textured, write_video
from hub_folders import original_folder, tiny_model
from PIL import Image
from transformers import AutoProcessor, CLIPImageProcessor

from onevision_encoder import Sampling, TokenizeConfig, embed_tokens, pack, read_media, tokenize
from onevision_encoder.hub import OneVisionEncoderImageProcessor, OneVisionEncoderProcessor


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("clips") / "clip.mp4", moving_square(frames=40))


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("clips") / "wide.mkv", moving_square(frames=12, height=84, width=196))


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    return tiny_model()


OPTIONS: dict[str, dict[str, Any]] = {
    "codec": {"video_backend": "codec", "budget": 128},
    "frames": {"video_backend": "frames", "num_frames": 4},
    "tiled": {"video_backend": "tiled", "budget": 192},
    "random": {"policy": "random", "budget": "20%"},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_inputs_are_the_tokens_of_tokenize(name: str, clip: Path, model: torch.nn.Module) -> None:
    options = {**OPTIONS[name]}
    inputs = OneVisionEncoderProcessor()(videos=clip, **options)
    policy = {"codec": "codec", "frames": "dense", "tiled": "tiled"}.get(options.pop("video_backend", ""), "random")
    tokens = tokenize(clip, **{**options, "policy": policy})
    assert set(inputs) == {"pixel_values", "patch_positions", "cu_seqlens"}
    assert [inputs[key].dtype for key in sorted(inputs)] == [torch.int32, torch.float32, torch.float32]
    assert np.array_equal(inputs["patch_positions"].numpy(), tokens.model_positions_N3)
    expected = embed_tokens(model, tokens, return_tokens=True)
    found = model(**inputs)
    assert np.array_equal(found.pooler_output.detach().numpy(), expected.pooled_SC)
    assert np.array_equal(found.last_hidden_state.detach().numpy(), expected.tokens_NC)


def test_backends_lay_tokens_out_as_they_say(clip: Path) -> None:
    processor, per_frame = OneVisionEncoderProcessor(), 64
    codec = processor(videos=clip, budget=100)
    assert len(codec["pixel_values"]) == 100
    whole = processor(videos=clip, video_backend="frames", return_metadata=True)
    assert whole.metadata.video_grid_thw.tolist() == [[16, 8, 8]]
    assert len(whole["pixel_values"]) == 16 * per_frame
    assert whole["patch_positions"][::per_frame, 0].tolist() == np.trunc(np.linspace(0, 63, 16)).tolist()
    paid = processor(videos=clip, video_backend="frames", budget=3 * per_frame, return_metadata=True)
    assert len(paid["pixel_values"]) == 3 * per_frame
    assert paid["patch_positions"][:, 0].unique().numel() == 3
    tiled = processor(videos=clip, video_backend="tiled", budget=3 * per_frame)
    assert tiled["patch_positions"][:, 0].unique().tolist() == [0]
    assert tiled["patch_positions"][:, 1].unique().tolist() == list(range(3 * 8))
    assert torch.equal(tiled["pixel_values"], paid["pixel_values"])  # the same frames, laid out otherwise


def test_whole_frames_are_counted_by_the_call_or_bought_by_a_budget() -> None:
    processor, frames = OneVisionEncoderProcessor(budget=128), moving_square(frames=40)  # 64 patches a frame

    def count(**options: Any) -> int:
        return len(processor(videos=frames, **options)["pixel_values"]) // 64

    assert count() == 2
    assert count(video_backend="frames") == 2
    assert count(video_backend="frames", num_frames=5) == 5
    assert count(video_backend="frames", num_frames=5, budget=192) == 3
    assert count(policy="dense", num_frames=5) == 5
    assert count(video_backend="frames", budget="auto") == 16
    assert OneVisionEncoderProcessor(num_frames=4, video_backend="frames").video_config().selection.policy == "dense"
    saved = OneVisionEncoderProcessor(num_frames=4, policy="dense")
    assert saved.video_config().sampling.num_frames == 4
    assert saved.video_config("codec").selection.policy == "codec"


def test_a_mixed_batch_equals_each_alone(clip: Path, wide: Path, model: torch.nn.Module) -> None:
    processor = OneVisionEncoderProcessor(OneVisionEncoderImageProcessor(max_patches=40), budget="15%")
    images, videos = [Image.fromarray(textured(90, 60)), textured(42, 200, 1)], [clip, wide, moving_square(frames=3)]
    inputs = processor(images=images, videos=videos)
    together = model(**inputs)
    alone = [model(**processor(images=image)) for image in images] + [model(**processor(videos=v)) for v in videos]
    assert together.pooler_output.shape == (5, 64)
    assert torch.allclose(together.pooler_output, torch.cat([out.pooler_output for out in alone]), atol=1e-5)
    assert torch.allclose(together.last_hidden_state, torch.cat([out.last_hidden_state for out in alone]), atol=1e-4)
    lengths = inputs["cu_seqlens"].diff().tolist()
    assert lengths == [len(out.last_hidden_state) for out in alone]
    assert len(set(lengths)) == 5


def test_images_beside_videos_follow_their_own_recipe(clip: Path) -> None:
    processor = OneVisionEncoderProcessor(OneVisionEncoderImageProcessor(recipe="crop224"))
    inputs = processor(images=textured(300, 400), videos=clip, budget=64, return_metadata=True)
    assert inputs.metadata.modalities == ("image", "video")
    assert inputs.metadata.image_grid_thw.tolist() == [[1, 16, 16]]
    assert inputs.metadata.video_grid_thw is None  # 64 chosen patches are no grid
    both = processor(images=textured(300, 400), videos=clip, max_patches=36, recipe="native", return_metadata=True)
    assert [clip.grid for clip in both.metadata.clips] == [(5, 7), (6, 6)]


def test_metadata_says_what_the_tokens_are(clip: Path, model: torch.nn.Module) -> None:
    inputs = OneVisionEncoderProcessor()(videos=clip, budget=128, num_frames=8, return_metadata=True)
    model(**inputs)
    (facts,) = inputs.metadata.clips
    tokens = tokenize(clip, budget=128, num_frames=8)
    assert facts.frame_index_T.tolist() == np.trunc(np.linspace(0, 39, 8)).tolist()
    assert np.allclose(facts.pts_seconds_T, facts.frame_index_T / 25)
    assert np.array_equal(inputs.metadata.positions_N3, tokens.positions_N3)
    assert np.array_equal(inputs.metadata.kind_N, tokens.kind_N)
    for again in (pickle.loads(pickle.dumps(inputs)), copy.deepcopy(inputs), inputs.to("cpu")):
        assert torch.equal(again["pixel_values"], inputs["pixel_values"])
        assert again.metadata.clips[0].frame_index_T.tolist() == facts.frame_index_T.tolist()


def test_half_precision_leaves_positions_exact() -> None:
    inputs = OneVisionEncoderProcessor()(videos=moving_square(frames=70), num_frames=None)
    exact = inputs["patch_positions"].clone()
    inputs = inputs.to(torch.bfloat16)
    assert inputs["pixel_values"].dtype == torch.bfloat16
    assert torch.equal(inputs["patch_positions"], exact)
    assert not torch.equal(exact.bfloat16().float(), exact)  # 70 frames on 64 slots: bfloat16 would have moved them


def test_every_way_to_hand_over_a_video_gives_the_same(clip: Path) -> None:
    processor = OneVisionEncoderProcessor(budget=50)
    expected = processor(videos=clip)["pixel_values"]
    with clip.open("rb") as file:
        ways = [str(clip), clip.read_bytes(), file, [clip], (str(clip),), tokenize(clip, budget=50), read_media(clip)]
        for way in ways:
            assert torch.equal(processor(videos=way)["pixel_values"], expected)


def test_frames_read_beforehand_are_taken_as_they_are(clip: Path) -> None:
    processor, frames = OneVisionEncoderProcessor(), read_media(clip, sampling=Sampling(num_frames=5))
    whole = processor(videos=frames, video_backend="frames", return_metadata=True)
    assert whole.metadata.video_grid_thw.tolist() == [[5, 8, 8]]
    expected = processor(videos=clip, video_backend="frames", num_frames=5)
    assert torch.equal(whole["pixel_values"], expected["pixel_values"])


def test_every_way_to_hand_over_frames_gives_the_same() -> None:
    frames = moving_square(frames=6)
    processor, tensor = OneVisionEncoderProcessor(budget=50), torch.tensor(frames)
    pictures = [Image.fromarray(frame) for frame in frames]
    ways = [pictures, tuple(frames), list(tensor), frames.transpose(0, 3, 1, 2), tensor, tensor.permute(0, 3, 1, 2)]
    ways += [frames[None], [pictures], [frames], [frame.permute(2, 0, 1) for frame in tensor]]
    expected = processor(videos=frames)
    for way in ways:
        assert torch.equal(processor(videos=way)["pixel_values"], expected["pixel_values"])
    pair = processor(videos=[frames, pictures[:3]], budget="100%")
    assert pair["cu_seqlens"].tolist() == [0, 6 * 64, 9 * 64]


def test_tokens_of_several_clips_are_several_segments(clip: Path, wide: Path) -> None:
    tokens = pack([tokenize(clip, budget=40), tokenize(wide, budget=30)])
    inputs = OneVisionEncoderProcessor()(videos=[tokens, moving_square(frames=1)[None, 0]], return_metadata=True)
    assert inputs["cu_seqlens"].tolist() == [0, 40, 70, 134]
    assert [clip.name for clip in inputs.metadata.clips][:2] == [str(clip), str(wide)]


def test_dense_videos_are_the_frames_themselves(clip: Path, model: torch.nn.Module) -> None:
    processor = OneVisionEncoderProcessor(video_backend="frames", num_frames=4)
    dense, packed = processor(videos=[clip, clip], layout="dense"), processor(videos=[clip, clip])
    assert dense["pixel_values"].shape == (2, 3, 4, 112, 112)
    assert dense["patch_positions"].shape == (2, 256, 3)
    found, expected = model(**dense).last_hidden_state.flatten(0, 1), model(**packed).last_hidden_state
    assert torch.allclose(found, expected, atol=1e-4)


def test_numpy_is_numpy(clip: Path) -> None:
    inputs = OneVisionEncoderProcessor()(videos=clip, budget=20, return_tensors="np")
    assert [type(value) for value in inputs.values()] == [np.ndarray] * 3


ROUND_TRIPS: dict[str, Callable[[], OneVisionEncoderProcessor]] = {
    "defaults": OneVisionEncoderProcessor,
    "settings": lambda: OneVisionEncoderProcessor(
        OneVisionEncoderImageProcessor(recipe="crop224", layout="packed", merge=2),
        video_backend="tiled",
        budget="25%",
        max_patches=100,
        num_frames=32,
        time="index",
    ),
}


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_settings_survive_a_round_trip(name: str, tmp_path: Path, clip: Path) -> None:
    made = ROUND_TRIPS[name]()
    made.save_pretrained(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"preprocessor_config.json", "processor_config.json"}
    tiny_model().save_pretrained(tmp_path)
    for reader in (OneVisionEncoderProcessor, AutoProcessor):
        again = reader.from_pretrained(tmp_path)
        assert again.to_dict() == made.to_dict()
        assert again.video_config() == made.video_config()
        assert torch.equal(again(videos=clip)["pixel_values"], made(videos=clip)["pixel_values"])
    assert reader.from_pretrained(tmp_path, budget=30).video_config().selection.budget == 30


def test_numbers_of_numpy_are_kept_as_numbers(tmp_path: Path) -> None:
    made = OneVisionEncoderProcessor(
        num_frames=np.int64(4), max_patches=np.int32(30), fps=np.float32(2.5), budget=np.int64(60), seed=np.uint8(3)
    )
    plain = OneVisionEncoderProcessor(num_frames=4, max_patches=30, fps=2.5, budget=60, seed=3)
    assert made.to_json_string() == plain.to_json_string()
    assert made.video_config() == plain.video_config()
    given = made.video_config(anchors=np.int64(2), num_frames=np.int64(5))
    assert given == plain.video_config(anchors=2, num_frames=5)
    made.save_pretrained(tmp_path)
    assert OneVisionEncoderProcessor.from_pretrained(tmp_path).to_dict() == plain.to_dict()


def test_processors_of_the_originals_folder_of_a_bare_model_and_of_a_preset(tmp_path: Path) -> None:
    original = AutoProcessor.from_pretrained(original_folder(tmp_path / "original"))
    assert original.image_processor.sizing.recipe == "image448"
    assert original(images=textured(60, 80))["pixel_values"].shape == (1, 3, 448, 448)
    assert original.video_config() == TokenizeConfig.of(policy="codec")
    tiny_model(patch_size=16).save_pretrained(tmp_path / "bare")
    assert AutoProcessor.from_pretrained(tmp_path / "bare").video_config().sizing.patch == 16
    preset = OneVisionEncoderProcessor.from_pretrained("large", budget=9)
    assert preset.to_dict() == OneVisionEncoderProcessor(budget=9).to_dict()
    native = AutoProcessor.from_pretrained(tmp_path / "original", recipe="native", max_patches=50)
    assert native.image_processor.sizing == native.video_config().sizing
    assert len(native(images=textured(300, 300))["pixel_values"]) == 49
    assert OneVisionEncoderProcessor(max_patches=50).image_processor.sizing.max_patches == 50
    clips = CLIPImageProcessor(size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224})
    assert OneVisionEncoderProcessor(clips).image_processor.sizing.recipe == "crop224"
