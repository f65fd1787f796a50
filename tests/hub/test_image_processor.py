"""Images: the original's recipe against CLIPImageProcessor, native sizes against the pixels themselves."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clips import textured
from hub_folders import ORIGINAL_IMAGES, original_folder, pillow_clip, tiny_model
from PIL import Image
from transformers import AutoImageProcessor, pipeline

from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.hub import OneVisionEncoderImageProcessor, OneVisionEncoderProcessor
from onevision_encoder.model.embed import CLIP_MEAN, CLIP_STD

SIZES = [(300, 500), (451, 449), (1000, 37), (448, 448), (720, 1280), (31, 30)]


def picture(height: int, width: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(textured(height, width, seed))


def by_hand(image: Image.Image, side: int) -> np.ndarray:
    """The original's recipe from its description: short side by bicubic, centre crop, CLIP's mean and std."""
    short = min(image.size)
    width, height = (int(side * n / short) for n in image.size)
    rgb = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    top, left = (height - side) // 2, (width - side) // 2
    crop = rgb[top : top + side, left : left + side].astype(np.float64) / 255
    return ((crop - CLIP_MEAN) / CLIP_STD).transpose(2, 0, 1)


def pixels_of(packed: torch.Tensor, grid: tuple[int, int], patch: int = 14) -> np.ndarray:
    """uint8 [H, W, 3] again from normalised patches in raster order."""
    mean, std = (np.array(v, dtype=np.float32)[:, None, None] for v in (CLIP_MEAN, CLIP_STD))
    blocks = packed.numpy().reshape(*grid, 3, patch, patch) * std + mean
    return np.rint(blocks * 255).astype(np.uint8).transpose(0, 3, 1, 4, 2).reshape(grid[0] * patch, -1, 3)


@pytest.mark.parametrize("size", SIZES)
def test_original_recipe_equals_clips_bit_for_bit(size: tuple[int, int]) -> None:
    image = picture(*size)
    expected = pillow_clip()(**ORIGINAL_IMAGES)(images=image, return_tensors="pt")["pixel_values"]
    found = OneVisionEncoderImageProcessor(recipe="image448")(image)
    assert dict(found).keys() == {"pixel_values"}
    assert found["pixel_values"].dtype == torch.float32
    assert torch.equal(found["pixel_values"], expected)
    assert np.abs(found["pixel_values"][0].numpy() - by_hand(image, 448)).max() < 1e-5


def test_224_crop_follows_the_same_description() -> None:
    image = picture(240, 321)
    found = OneVisionEncoderImageProcessor(recipe="crop224")(image)["pixel_values"]
    assert np.abs(found[0].numpy() - by_hand(image, 224)).max() < 1e-5


@pytest.mark.parametrize("size", [(56, 980), (98, 14), (448, 448)])
def test_native_pictures_of_whole_patches_keep_every_pixel(size: tuple[int, int]) -> None:
    image = picture(*size)
    inputs = OneVisionEncoderImageProcessor()(image)
    grid = (size[0] // 14, size[1] // 14)
    assert np.array_equal(pixels_of(inputs["pixel_values"], grid), np.asarray(image))
    rows, columns = np.indices(grid).reshape(2, -1)
    expected = np.stack([np.zeros_like(rows), rows, columns], axis=1)
    assert np.array_equal(inputs["patch_positions"].numpy(), expected)
    assert inputs["cu_seqlens"].tolist() == [0, grid[0] * grid[1]]
    assert inputs["cu_seqlens"].dtype == torch.int32


def test_native_is_not_a_crop_and_max_patches_bounds_it() -> None:
    wide = picture(300, 1800)
    assert len(OneVisionEncoderImageProcessor()(wide)["pixel_values"]) in range(900, 1025)
    larger = OneVisionEncoderImageProcessor()(wide, max_patches=4000, return_metadata=True)
    assert larger.metadata.image_grid_thw.tolist() == [[1, 21, 129]]  # 300 / 14 and 1800 / 14, rounded
    assert len(larger["pixel_values"]) == 21 * 129


def test_mixed_sizes_in_one_pack_equal_each_alone() -> None:
    model, processor = tiny_model(), OneVisionEncoderImageProcessor(max_patches=64)
    images = [picture(100, 180), picture(56, 56, 1), picture(300, 40, 2)]
    together = model(**processor(images))
    alone = [model(**processor(image)) for image in images]
    assert torch.allclose(together.pooler_output, torch.cat([out.pooler_output for out in alone]), atol=1e-5)
    assert torch.allclose(together.last_hidden_state, torch.cat([out.last_hidden_state for out in alone]), atol=1e-4)
    assert not torch.allclose(together.pooler_output[0], together.pooler_output[1], atol=1e-2)


def test_dense_and_packed_layouts_are_the_same_tokens_to_the_model() -> None:
    model, processor, image = tiny_model(), OneVisionEncoderImageProcessor(recipe="crop224"), picture(240, 300)
    dense, packed = model(**processor(image)), model(**processor(image, layout="packed"))
    assert torch.allclose(dense.last_hidden_state[0], packed.last_hidden_state, atol=1e-4)
    native = OneVisionEncoderImageProcessor()(image, layout="dense")["pixel_values"]
    assert native.shape == (1, 3, 238, 294)
    with pytest.raises(ShapeError, match="packed"):
        OneVisionEncoderImageProcessor()([image, picture(50, 50)], layout="dense")


def test_every_way_to_hand_over_an_image_gives_the_same(tmp_path: Path) -> None:
    processor, image = OneVisionEncoderImageProcessor(), picture(90, 130)
    image.save(tmp_path / "picture.png")
    data = (tmp_path / "picture.png").read_bytes()
    array = np.asarray(image)
    tensor = torch.tensor(array)
    ways = [tmp_path / "picture.png", str(tmp_path / "picture.png"), data, io.BytesIO(data)]
    ways += [array, array.transpose(2, 0, 1), tensor, tensor.permute(2, 0, 1), array[None], [[image]], (image,)]
    expected = processor(image)["pixel_values"]
    for way in ways:
        assert torch.equal(processor(way)["pixel_values"], expected)
    assert len(processor([image, array, data])["cu_seqlens"]) == 4


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    image, exif = picture(56, 98), Image.Exif()
    exif[0x0112] = 6  # shown turned by a quarter to the right
    image.save(tmp_path / "turned.png", exif=exif)
    inputs = OneVisionEncoderImageProcessor()(tmp_path / "turned.png")
    assert np.array_equal(pixels_of(inputs["pixel_values"], (7, 4)), np.rot90(np.asarray(image), -1))


def test_letterbox_padding_is_not_encoded() -> None:
    inputs = OneVisionEncoderImageProcessor(recipe="letterbox", side=112)(picture(56, 112))
    assert len(inputs["pixel_values"]) == 4 * 8
    assert inputs["patch_positions"][:, 1].unique().tolist() == [2, 3, 4, 5]


def test_other_mean_and_std_are_used_and_kept(tmp_path: Path) -> None:
    made = OneVisionEncoderImageProcessor(image_mean=(0.5, 0.25, 0), image_std=(1, 2, 4))
    made.save_pretrained(tmp_path)
    found = OneVisionEncoderImageProcessor.from_pretrained(tmp_path)(np.full((14, 14, 3), 255, np.uint8))
    channels = found["pixel_values"].reshape(3, 196)
    assert torch.equal(channels, torch.tensor([[0.5], [0.375], [0.25]]).expand(3, 196))


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        ([], {}, "at least one image"),
        (np.zeros((20, 20), np.uint8), {}, r"\(20, 20\).*H, W, 3"),
        (np.zeros((20, 20, 4), np.uint8), {}, "3 channels"),
        (np.zeros((20, 20, 3)), {}, r"uint8 pixels.*x \* 255"),
        (torch.zeros(3, 20, 20, dtype=torch.bfloat16), {}, "uint8 pixels"),
        (3, {}, "a path, bytes"),
        ("picture", {"size": 448}, "did you mean recipe or max_patches"),
        ("picture", {"max_patch": 9}, "did you mean max_patches"),
        ("picture", {"patch_size": 16}, "the patch size is the model's"),
        ("picture", {"layout": "flat"}, "'packed', 'dense'"),
        ("picture", {"return_tensors": "tf"}, "'pt'.*'np'"),
        ("picture", {"budget": 20}, "no such option"),
        ("picture", {"max_patches": 20, "recipe": "image448"}, "for recipe='native' only; here it is 'image448'"),
    ],
)
def test_mistakes_are_named(images: object, options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        OneVisionEncoderImageProcessor()(picture(28, 28) if isinstance(images, str) else images, **options)


def test_options_of_tokens_are_checked_too() -> None:
    processor = OneVisionEncoderImageProcessor()
    assert [len(part) for part in processor.tokens(picture(28, 56), max_patches=np.int64(2), order="block2")] == [2]
    with pytest.raises(InvalidArgumentError, match="did you mean max_patches"):
        processor.tokens(picture(28, 28), max_patch=9)


def test_settings_that_no_recipe_has_are_refused() -> None:
    for wrong, message in (
        ({"do_center_crop": False}, "do_center_crop"),
        ({"resample": 2}, "bicubic"),
        ({"rescale_factor": 1.0}, "1/255"),
        ({"rescale_factor": None}, "rescale_factor=None .*1/255"),
        ({"rescale_factor": "1/255"}, "rescale_factor"),
        ({"resample": None}, "resample"),
        ({"size": [448, 448], "crop_size": [448, 448]}, "224, 448"),
        ({"size": None}, "224, 448"),
        ({"size": {"shortest_edge": 336}}, "224, 448"),
        ({"crop_size": {"height": 448, "width": 224}}, "224, 448"),
        ({"image_processor_type": "ViTImageProcessor"}, "ViTImageProcessor"),
        ({"image_processor_type": "OneVisionEncoderImageProcessor", "bogus": 1}, "bogus"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            OneVisionEncoderImageProcessor.from_dict({**ORIGINAL_IMAGES, **wrong})
    for wrong_made in ({"recipe": "square"}, {"max_patches": 0}, {"max_patches": None}, {"patch_size": "14"}):
        with pytest.raises(InvalidArgumentError, match=next(iter(wrong_made)).partition("_size")[0]):
            OneVisionEncoderImageProcessor(**wrong_made)


WRONG_NUMBERS = [0.5, None, "0.5", (1, 1), "abc", {0.1, 0.2, 0.3}, (True, False, True), (1, 1, float("inf"))]
WRONG_NUMBERS += [(1, 1, float("nan")), (1, 1, 1j), (1, 1, None), np.ones(3, np.bool_), np.ones((3, 3)), torch.ones(3)]


@pytest.mark.parametrize("name", ["image_mean", "image_std"])
@pytest.mark.parametrize("wrong", WRONG_NUMBERS, ids=repr)
def test_mean_and_std_are_three_finite_numbers(name: str, wrong: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=rf"{name}=.*three finite numbers"):
        OneVisionEncoderImageProcessor(**{name: wrong})
    with pytest.raises(InvalidArgumentError, match=name):
        OneVisionEncoderImageProcessor.from_dict({**ORIGINAL_IMAGES, name: wrong})


@pytest.mark.parametrize("std", [(0, 1, 1), (1, -1, 1)])
def test_std_is_above_zero(std: tuple[float, ...]) -> None:
    with pytest.raises(InvalidArgumentError, match=r"image_std=.*above 0"):
        OneVisionEncoderImageProcessor(image_std=std)


def test_numbers_of_numpy_are_kept_as_numbers(tmp_path: Path) -> None:
    made = OneVisionEncoderImageProcessor(
        patch_size=np.int64(14),  # type: ignore[arg-type]
        max_patches=np.int32(50),  # type: ignore[arg-type]
        image_mean=np.array((0.5, 0.25, 0), np.float32),  # type: ignore[arg-type]
        image_std=[np.float16(1), np.int8(2), 4],
    )
    assert (made.normalization.mean, made.normalization.std) == ((0.5, 0.25, 0.0), (1.0, 2.0, 4.0))
    made.save_pretrained(tmp_path)
    assert OneVisionEncoderImageProcessor.from_pretrained(tmp_path).to_dict() == made.to_dict()


def test_folders_round_trip_and_clip_reads_ours(tmp_path: Path) -> None:
    folder, image = original_folder(tmp_path / "original"), picture(200, 300)
    ours = OneVisionEncoderImageProcessor.from_pretrained(folder)
    assert (ours.sizing.recipe, ours.patch_size) == ("image448", 14)
    ours.save_pretrained(tmp_path / "ours")
    expected = ours(image)["pixel_values"]
    for reader in (OneVisionEncoderImageProcessor, AutoImageProcessor, pillow_clip()):
        again = reader.from_pretrained(tmp_path / "ours")
        assert torch.equal(again(image, return_tensors="pt")["pixel_values"], expected)
    assert type(AutoImageProcessor.from_pretrained(tmp_path / "ours")) is OneVisionEncoderImageProcessor
    assert OneVisionEncoderImageProcessor.from_pretrained(folder, recipe="native").sizing.recipe == "native"
    with pytest.raises(InvalidArgumentError, match="max_patches"):
        OneVisionEncoderImageProcessor.from_pretrained(folder, max_patch=3)


def test_patch_size_comes_from_the_models_configuration(tmp_path: Path) -> None:
    tiny_model(patch_size=16).save_pretrained(tmp_path / "model")
    processor = OneVisionEncoderImageProcessor.from_pretrained(tmp_path / "model")
    assert processor.to_dict() == OneVisionEncoderImageProcessor(patch_size=16).to_dict()
    json.dumps(processor.to_dict())
    with pytest.raises(OSError, match="nowhere"):
        OneVisionEncoderImageProcessor.from_pretrained(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("files", ["original", "ours"])
def test_image_feature_extraction_pipeline(tmp_path: Path, files: str) -> None:
    folder = original_folder(tmp_path, image_size=224)
    if files == "ours":
        OneVisionEncoderProcessor(OneVisionEncoderImageProcessor(recipe="crop224")).save_pretrained(folder)
    image = picture(90, 120)
    inputs = AutoImageProcessor.from_pretrained(folder)(image, return_tensors="pt")
    expected = tiny_model()(**inputs)
    extract = pipeline("image-feature-extraction", model=str(folder))
    assert torch.allclose(extract(image, return_tensors=True), expected.last_hidden_state, atol=1e-5)
    assert np.allclose(extract(image, pool=True), expected.pooler_output.detach().numpy(), atol=1e-5)


def test_pipeline_takes_native_images_and_half_precision(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path)
    OneVisionEncoderProcessor().save_pretrained(tmp_path)
    image = picture(60, 120)
    extract = pipeline("image-feature-extraction", model=str(tmp_path), dtype=torch.bfloat16)
    found = extract(image, return_tensors=True)
    assert found.dtype == torch.bfloat16
    expected = tiny_model()(**OneVisionEncoderImageProcessor()(image)).last_hidden_state
    assert (found.float() - expected).norm() < 0.05 * expected.norm()
