"""Conversations to inputs: exact budgets in tokens, timestamps, every way to hand over media, no silent fallback."""

from __future__ import annotations

import base64
import copy
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clips import write_video
from PIL import Image
from tiny_parts import CHATML, clip, image, still, tiny_model, tiny_tokenizer, user, video
from tiny_parts import video as video_part

from onevision_encoder import pack, read_media, save_tokens, tokenize
from onevision_encoder.errors import (
    BudgetError,
    InvalidArgumentError,
    MediaNotFoundError,
    PlaceholderError,
    ShapeError,
    TokenFileError,
    UnreadableMediaError,
)
from onevision_encoder.hub import OneVisionEncoderImageProcessor, OneVisionEncoderProcessor
from onevision_encoder.lmm import Medium, OneVisionVLProcessor, add_vision_tokens
from onevision_encoder.tokens import export_canvases, export_mosaics


def processor_of(merger: str = "2x2", **options: Any) -> OneVisionVLProcessor:
    tokenizer = tiny_tokenizer()
    add_vision_tokens(tokenizer)
    return OneVisionVLProcessor(None, tokenizer, merger=merger, **options)


def inputs_of(processor: Any, conversation: Any, **options: Any) -> Any:
    return processor.apply_chat_template(conversation, tokenize=True, **options)


def words(processor: Any, inputs: Any, item: int = 0) -> str:
    """The text of an item with runs of placeholders counted: ``3v`` ``6i``."""
    tokens = processor.tokenizer.convert_ids_to_tokens(inputs["input_ids"][item][inputs["attention_mask"][item] == 1])
    short = {"<|video_pad|>": "v", "<|image_pad|>": "i"}
    parts: list[str] = []
    for token in tokens:
        kind = short.get(token)
        if kind and parts and parts[-1].endswith(kind) and parts[-1][:-1].isdecimal():
            parts[-1] = f"{int(parts[-1][:-1]) + 1}{kind}"
        else:
            parts.append(f"1{kind}" if kind else token)
    return " ".join(parts)


@pytest.fixture(scope="module")
def mp4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("clips") / "clip.mp4", clip(24))


@pytest.mark.parametrize("backend", ["codec", "frames", "tiled"])
@pytest.mark.parametrize("merger", ["none", "2x2", "attention"])
def test_a_budget_is_exact_in_tokens_whatever_merges_and_chooses(merger: str, backend: str, mp4: Path) -> None:
    processor = processor_of(merger)
    per_token = {"none": 1, "2x2": 4, "attention": 4}[merger]
    for budget in (7, 24):
        part = {"type": "video", "path": str(mp4), "budget": budget, "video_backend": backend}
        inputs = inputs_of(processor, user(part, "what"))
        assert words(processor, inputs) == (
            f"<|im_start|> user <|vision_start|> {budget}v <|vision_end|> what <|im_end|>"
        )
        (record,) = inputs.media
        assert (record.tokens, record.patches, record.path) == (budget, budget * per_token, backend)
        assert len(inputs["pixel_values"]) == budget * per_token
        assert record.clip.provenance["selection"]["budget"] == budget * per_token


def test_the_patches_are_those_of_tokenize(mp4: Path) -> None:
    inputs = inputs_of(processor_of(), user({"type": "video", "path": mp4, "budget": 15, "num_frames": 8}))
    tokens = tokenize(mp4, budget=60, num_frames=8, merge=2, order="block2")
    theirs = OneVisionEncoderProcessor()(videos=tokens)
    assert torch.equal(inputs["pixel_values"], theirs["pixel_values"])
    assert torch.equal(inputs["patch_positions"], theirs["patch_positions"])
    assert torch.equal(inputs["cu_seqlens"], theirs["cu_seqlens"])


@pytest.mark.parametrize("merger", ["none", "2x2", "attention"])
@pytest.mark.parametrize(
    ("parts", "request_budget"),
    [
        ([video(1)], 37),
        ([video(1), "and", video(2, 12), video(3)], 50),
        ([image(1), video(1), image(2, 196, 196), video(2)], 64),
        ([image(1, 196, 196), video(1, budget=9), video(2), video(3)], 61),
    ],
)
def test_a_request_budget_is_spent_exactly(merger: str, parts: Any, request_budget: int) -> None:
    processor = processor_of(merger)
    inputs = inputs_of(processor, user(*parts), request_budget=request_budget)
    counts = [record.tokens for record in inputs.media]
    assert sum(counts) == request_budget
    assert words(processor, inputs).count("v") + words(processor, inputs).count("i") >= len(counts)
    limit = request_budget // len(counts)
    free = [c for c, r, p in zip(counts, inputs.media, [p for p in parts if p != "and"], strict=True)
            if r.modality == "video" and "budget" not in p]  # fmt: skip
    assert max(free) - min(free) <= 1
    assert sorted(free, reverse=True) == free
    assert all(c <= limit for c, r in zip(counts, inputs.media, strict=True) if r.modality == "image")


def test_what_a_short_clip_leaves_goes_to_those_after_it() -> None:
    processor = processor_of()
    parts = [video(1, frames=1, short="cap", num_frames=1), video(2, frames=20)]
    parts[0]["video"] = np.repeat(parts[0]["video"], 2, 0)
    inputs = inputs_of(processor, user(*parts), request_budget=60)
    assert [record.tokens for record in inputs.media] == [9, 51]
    assert inputs.media[0].clip.provenance["selection"]["config"]["short"] == "cap"
    with pytest.raises(BudgetError, match="short 'cap' takes those"):
        inputs_of(processor, user(*[{**part, "short": "error"} for part in parts]), request_budget=60)


@pytest.mark.parametrize(
    ("parts", "options", "match"),
    [
        ([video()], {"budget": 0}, "budget=0"),
        ([video()], {"budget": 10_000}, "budget=10000 is not accepted: 1 to 72 tokens: all that it has"),
        ([video()], {"budget": "200%"}, "budget='200%' .* tokens above 0, or a share of the patches"),
        ([video()], {"budget": "many"}, "budget='many' .* tokens above 0"),
        ([video(), video()], {"request_budget": 1}, "at least 2: one a medium"),
        ([image(1, 196, 196), video(budget=50), video()], {"request_budget": 52}, "at least 67: images .* 66 tokens"),
    ],
)
def test_budgets_that_cannot_be_met_say_what_could(parts: Any, options: Any, match: str) -> None:
    with pytest.raises(BudgetError, match=match):
        inputs_of(processor_of(), user(*parts), **options)


def test_timestamps_stand_before_the_tokens_of_their_frames(mp4: Path) -> None:
    processor = processor_of(timestamps=True)
    part = {"type": "video", "path": mp4, "budget": 20, "num_frames": 6}
    inputs = inputs_of(processor, user(part, image(), "what"))
    tokens = tokenize(mp4, budget=80, num_frames=6, merge=2, order="block2")
    frames, patches = np.unique(tokens.positions_N3[:, 0], return_counts=True)
    stamps = [f"{tokens.clips[0].pts_seconds_T[t]:.1f}" for t in frames]
    wanted = " ".join(f"< {s[0]} . {s[2]} s > {n // 4}v" for s, n in zip(stamps, patches, strict=True))
    assert words(processor, inputs) == (
        f"<|im_start|> user <|vision_start|> {wanted} <|vision_end|> <|vision_start|> 6i <|vision_end|> what <|im_end|>"
    )
    assert [round(s, 1) for s in inputs.media[0].seconds] == [float(s) for s in stamps]
    assert inputs.media[1].seconds is None


@pytest.mark.parametrize("merger", ["none", "attention"])
def test_groups_of_frames_share_a_timestamp_and_units_keep_inside_them(merger: str, mp4: Path) -> None:
    processor = processor_of(merger, timestamps=True, group_frames=4)
    inputs = inputs_of(processor, user({"type": "video", "path": mp4, "budget": 41, "num_frames": 12}))
    (record,) = inputs.media
    assert len(record.seconds) == 3
    assert np.allclose(record.seconds, record.clip.pts_seconds_T[[0, 4, 8]])
    assert (
        sum(int(part[:-1]) for part in words(processor, inputs).split() if part[:-1].isdecimal() and part[-1] == "v")
        == 41
    )
    if merger == "attention":
        group = inputs.metadata.positions_N3[:, 0] // 4
        bounds = inputs["unit_cu_seqlens"].tolist()
        assert all(len(set(group[a:b])) == 1 for a, b in pairwise(bounds))


def test_every_way_to_hand_over_a_video_gives_the_same(mp4: Path, tmp_path: Path) -> None:
    processor = processor_of(budget=12)
    url = f"data:video/mp4;base64,{base64.b64encode(mp4.read_bytes()).decode()}"
    made = tokenize(mp4, budget=48, merge=2, order="block2")
    save_tokens(tmp_path / "clip.safetensors", made)
    ways: list[tuple[dict[str, Any], str]] = [
        ({"type": "video", "path": str(mp4)}, "codec"),
        ({"type": "video", "url": mp4.as_uri()}, "codec"),
        ({"type": "video", "bytes": mp4.read_bytes()}, "codec"),
        ({"type": "video_url", "video_url": {"url": url}}, "codec"),
        ({"type": "video", "video": read_media(mp4, sizing=processor.media.video_config().sizing)}, "codec"),
        ({"type": "video", "video": made}, "given tokens (codec)"),
        ({"type": "video", "video": tokenize(mp4, budget=48, merge=2)}, "given tokens (codec)"),
        ({"type": "video", "path": tmp_path / "clip.safetensors"}, "given tokens (codec)"),
    ]
    expected = inputs_of(processor, user(ways[0][0]))
    for part, path in ways:
        inputs = inputs_of(processor, user(part))
        assert torch.equal(inputs["input_ids"], expected["input_ids"])
        assert torch.equal(inputs["pixel_values"], expected["pixel_values"])
        assert torch.equal(inputs["patch_positions"], expected["patch_positions"])
        assert inputs.provenance[0]["path"] == path


def test_canvases_and_mosaics_of_the_neighbours_are_read(mp4: Path, tmp_path: Path) -> None:
    made = tokenize(mp4, budget=36 * 4, num_frames=24, merge=2, order="block2")
    export_canvases(tmp_path / "canvases", made)
    flat = tokenize(mp4, budget=36 * 2, num_frames=24)
    export_mosaics(tmp_path / "mosaics", flat, mosaics=2)
    inputs = inputs_of(processor_of(), user({"type": "video", "path": tmp_path / "canvases"}))
    assert inputs.provenance[0]["path"] == "imported canvases"
    assert torch.equal(inputs["patch_positions"], torch.tensor(made.model_positions_N3))
    assert torch.equal(inputs["pixel_values"], OneVisionEncoderProcessor()(videos=made)["pixel_values"])
    mosaics = {"type": "video", "path": str(tmp_path / "mosaics")}
    inputs = inputs_of(processor_of("none"), user(mosaics))
    assert inputs.provenance[0]["path"] == "imported mosaics"
    assert torch.equal(inputs["patch_positions"], torch.tensor(flat.model_positions_N3))
    with pytest.raises(ShapeError, match="not all in whole 2x2 blocks"):
        inputs_of(processor_of(), user(mosaics))
    with pytest.raises(InvalidArgumentError, match="without budget: that was decided before"):
        inputs_of(processor_of(), user({**mosaics, "budget": 5}))
    with pytest.raises(TokenFileError, match=r"without src_patch_position\.npy"):
        inputs_of(processor_of(), user({"type": "video", "path": tmp_path}))


def test_whole_frames_have_grids_and_chosen_patches_have_none() -> None:
    processor = processor_of()
    frames = video(frames=4, video_backend="frames", num_frames=4)
    inputs = inputs_of(processor, [user(frames), user(image(1), image(2, 28, 28))])
    assert inputs["video_grid_thw"].tolist() == [[4, 6, 6]]
    assert inputs["image_grid_thw"].tolist() == [[1, 4, 6], [1, 2, 2]]
    assert "video_grid_thw" not in inputs_of(processor, user(video(budget=5)))


def test_odd_grids_become_whole_blocks_or_are_refused() -> None:
    inputs = inputs_of(processor_of(), user(image(height=70, width=98)))
    assert (np.array(inputs.media[0].clip.grid) % 2 == 0).all()
    odd = tokenize(still(70, 98), patch=14)
    assert odd.clips[0].grid == (5, 7)
    with pytest.raises(ShapeError, match=r"35 patches .* not all in whole 2x2 blocks"):
        inputs_of(processor_of(), user({"type": "image", "image": odd}))
    inputs = inputs_of(processor_of("attention"), user({"type": "image", "image": odd}))
    assert (inputs.media[0].patches, inputs.media[0].tokens) == (35, 8)


def test_texts_with_placeholders_take_media_in_order() -> None:
    processor = processor_of()
    one, two = still(56, 84, 1), Image.fromarray(still(28, 56, 2))
    texts = ["a <|image_pad|> b <|video_pad|>", "c", "d <|image_pad|>"]
    inputs = processor(text=texts, images=[one, two], videos=clip(), budget=5)
    assert [words(processor, inputs, i) for i in range(3)] == ["a 6i b 5v", "c", "d 2i"]
    assert [record.sample for record in inputs.media] == [0, 0, 2]
    nested = processor(
        text=texts, images=[[one], [], [two]], videos=[[Medium(modality="video", source=clip())]], budget=5
    )
    assert all(torch.equal(inputs[name], nested[name]) for name in inputs)
    with pytest.raises(PlaceholderError, match=r"^2 placeholders for 1 visual tokens"):
        processor(text=texts, images=[one], videos=clip())
    with pytest.raises(PlaceholderError, match="each video is wanted"):
        processor(text="a", videos=clip())


def test_nothing_is_cut_inside_a_medium() -> None:
    processor = processor_of()
    conversation = user(image(), "what is this")
    with pytest.raises(
        PlaceholderError, match=r"^4 placeholders for 6 visual tokens: truncation to max_length=7 cuts image"
    ):
        inputs_of(processor, conversation, truncation=True, max_length=7)
    cut = inputs_of(processor, conversation, truncation=True, max_length=11)
    assert words(processor, cut).endswith("6i <|vision_end|> what")
    unknowing = OneVisionVLProcessor(None, tiny_tokenizer())
    with pytest.raises(PlaceholderError, match=r"does not know <\|image_pad\|>; see add_vision_tokens"):
        inputs_of(unknowing, conversation)


def test_answers_are_marked_token_by_token() -> None:
    processor = processor_of()
    conversation = [
        *user(image(), "which way"),
        {"role": "assistant", "content": "left left"},
        *user(video(budget=3), "and"),
        {"role": "assistant", "content": [{"type": "text", "text": "right"}]},
    ]
    inputs = inputs_of(processor, [conversation, user("yes")], return_assistant_tokens_mask=True)
    mask = inputs["assistant_masks"]
    assert mask.shape == inputs["input_ids"].shape
    answered = processor.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0][mask[0] == 1])
    assert answered == ["left", "left", "<|im_end|>", "right", "<|im_end|>"]
    assert not mask[1].any()
    forgets = CHATML.replace("message['content'] +", "(message['content'] if loop.last else 'a') +")
    with pytest.raises(InvalidArgumentError, match="turn 3 is rendered otherwise"):
        inputs_of(processor, conversation, return_assistant_tokens_mask=True, chat_template=forgets)


def test_a_conversation_as_text() -> None:
    processor = processor_of()
    text = processor.apply_chat_template(user("a", image(), "b"), add_generation_prompt=True)
    assert text == "<|im_start|>user a<|vision_start|><|image_pad|><|vision_end|>b<|im_end|> <|im_start|>assistant "
    assert processor.apply_chat_template([user("a")]) == ["<|im_start|>user a<|im_end|> "]


@pytest.mark.parametrize(
    ("part", "error", "match"),
    [
        ({"type": "sound", "path": "x"}, InvalidArgumentError, "parts with type text, image, video"),
        ({"type": "video"}, InvalidArgumentError, r"video part with=\[\]"),
        ({"type": "image", "path": "x", "url": "y"}, InvalidArgumentError, r"\['path', 'url'\]"),
        ({"type": "video", "path": "nowhere.mp4"}, MediaNotFoundError, "nowhere.mp4"),
        ({"type": "video", "url": "data:video/mp4;base64,%%%"}, UnreadableMediaError, "not base64"),
        ({"type": "video", "url": "data:video/mp4,abc"}, UnreadableMediaError, "must be base64"),
        ({"type": "video", "video": 5}, InvalidArgumentError, "videos=5"),
        ({"type": "image", "image": clip()}, InvalidArgumentError, "one picture a placeholder"),
        ({"type": "video", "video": clip(), "merge": 1}, InvalidArgumentError, "merge=1"),
        ({"type": "video", "video": clip(), "max_tokens": 1}, InvalidArgumentError, "did you mean budget"),
        ({"type": "video", "video": clip(), "video_backend": "magic"}, InvalidArgumentError, "magic"),
        ({"type": "text", "text": "see <|image_pad|>"}, InvalidArgumentError, "parts of their own"),
        ("<|video_pad|>", InvalidArgumentError, "parts of their own"),
        ({"type": "video", "video": pack([tokenize(clip(), budget=8)] * 2)}, InvalidArgumentError, "2 clips"),
    ],
)
def test_parts_that_are_not_understood_are_refused(part: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        inputs_of(processor_of(), user(part))


def test_a_still_picture_is_no_video_and_a_video_no_picture(mp4: Path, tmp_path: Path) -> None:
    Image.fromarray(still()).save(tmp_path / "still.png")
    with pytest.raises(InvalidArgumentError, match="for a still image write images"):
        inputs_of(processor_of(), user({"type": "video", "path": tmp_path / "still.png"}))
    with pytest.raises(InvalidArgumentError, match="for a video write videos"):
        inputs_of(processor_of(), user({"type": "image", "path": mp4}))


def test_settings_are_saved_and_calls_win(tmp_path: Path) -> None:
    _, processor = tiny_model(
        "2x2", budget=10, timestamps=True, group_frames=2, max_patches=16, num_frames=6, video_backend="frames"
    )
    processor.save_pretrained(tmp_path)
    again = OneVisionVLProcessor.from_pretrained(tmp_path)
    assert again.to_dict() == processor.to_dict()
    conversation = user(video_part(frames=12))
    first, second = inputs_of(processor, conversation), inputs_of(again, conversation)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert first.media[0].tokens == 10
    assert first.media[0].path == "frames"
    other = OneVisionVLProcessor.from_pretrained(tmp_path, budget=6, timestamps=False)
    assert inputs_of(other, conversation).media[0].tokens == 6
    assert inputs_of(again, conversation, budget=7, video_backend="codec").media[0].path == "codec"
    with pytest.raises(InvalidArgumentError, match="budgets=3"):
        inputs_of(again, conversation, budgets=3)
    with pytest.raises(InvalidArgumentError, match="group_frames=0"):
        OneVisionVLProcessor(None, processor.tokenizer, group_frames=0)


def test_the_image_processor_given_is_made_to_merge() -> None:
    tokenizer = tiny_tokenizer()
    add_vision_tokens(tokenizer)
    given = OneVisionEncoderImageProcessor(max_patches=30, image_mean=(0.5, 0.5, 0.5), image_std=(0.5, 0.5, 0.5))
    processor = OneVisionVLProcessor(given, tokenizer)
    inputs = inputs_of(processor, user(image(height=140, width=140)))
    assert inputs["image_grid_thw"].tolist() == [[1, 4, 4]]
    assert inputs["pixel_values"].abs().max() <= 1
    assert given.sizing.merge == 1


def test_inputs_keep_their_record_when_copied_or_moved() -> None:
    inputs = inputs_of(processor_of(), user(video(budget=5)))
    for again in (pickle.loads(pickle.dumps(inputs)), copy.deepcopy(inputs), inputs.to(torch.bfloat16)):
        assert again.provenance[0]["tokens"] == 5
        assert again["patch_positions"].dtype == torch.float32


def test_padding_without_a_token_for_it_is_refused() -> None:
    processor = processor_of()
    batch = [user("a"), user("a b")]
    assert inputs_of(processor, batch, padding="max_length", max_length=12)["input_ids"].shape == (2, 12)
    with pytest.raises(InvalidArgumentError, match="padding=False"):
        inputs_of(processor, batch, padding=False)
    processor.tokenizer.pad_token = None
    with pytest.raises(InvalidArgumentError, match="pad_token"):
        inputs_of(processor, batch)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the pipeline's own habits
def test_the_pipeline_of_transformers_answers(tmp_path: Path) -> None:
    from transformers import pipeline

    model, processor = tiny_model()
    for part in (model, processor):
        part.save_pretrained(tmp_path)
    answer = pipeline("image-text-to-text", model=str(tmp_path))(text=user(image(), "what"), max_new_tokens=3)
    assert [turn["role"] for turn in answer[0]["generated_text"]] == ["user", "assistant"]
