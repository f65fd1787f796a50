"""Annotation files of every benchmark in miniature, as their authors publish them; and what ``verify`` finds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from onevision_encoder.errors import InvalidArgumentError, MediaNotFoundError
from onevision_encoder.evaluate import BENCHMARKS, load_dataset, verify
from onevision_encoder.evaluate.benchmark_files import READERS
from onevision_encoder.evaluate.datasets import DataSet


def write(path: Path, text: object = "video") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    return path


def rows(data: DataSet) -> dict[str, tuple[str, list[str]]]:
    return {e.id: (e.split, [data.classes[c] for c in e.classes]) for e in data.examples}


def kinds(data: DataSet) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for problem in verify(data).problems:
        found.setdefault(problem.kind, []).append(problem.id)
    return found


def test_ssv2(tmp_path: Path) -> None:
    write(tmp_path / "labels/labels.json", {"Pushing something": "1", "Holding something next to something": "0"})
    train = [{"id": "7", "label": "holding a cup", "template": "Holding [something] next to [something]"}]
    write(tmp_path / "labels/train.json", [*train, {"id": "8", "template": "Flying [something]"}])
    write(tmp_path / "labels/validation.json", [{"id": "9", "template": "Pushing [something]"}])
    write(tmp_path / "20bn/7.webm")
    data = load_dataset(tmp_path, "ssv2")
    assert data.classes == ("Holding something next to something", "Pushing something")
    assert rows(data) == {"7": ("train", [data.classes[0]]), "9": ("test", [data.classes[1]])}
    assert data.examples[0].path == tmp_path / "20bn/7.webm"
    assert kinds(data) == {"missing file": ["9"], "wrong label": ["8"]}
    assert verify(data).expected_classes == 174
    assert not verify(data).ok


def test_diving48(tmp_path: Path) -> None:
    write(tmp_path / "Diving48_vocab.json", [["Back", "15som", "05Twis", "FREE"], ["Back", "Dive", "NoTwis", "PIKE"]])
    write(tmp_path / "Diving48_V2_train.json", [{"vid_name": "a_1", "label": 1, "start_frame": 0, "end_frame": 9}])
    write(tmp_path / "Diving48_V2_test.json", [{"vid_name": "b_1", "label": 0}, {"vid_name": "c_1", "label": 48}])
    write(tmp_path / "rgb/a_1.mp4")
    data = load_dataset(tmp_path, "diving48")
    assert rows(data) == {"a_1": ("train", ["Back-Dive-NoTwis-PIKE"]), "b_1": ("test", ["Back-15som-05Twis-FREE"])}
    assert kinds(data) == {"missing file": ["b_1"], "wrong label": ["c_1"]}
    assert (data.epochs, data.batch_size) == (30, 32)


def test_perception_test(tmp_path: Path) -> None:
    def video(*actions: tuple[int, str, list[int]]) -> dict[str, object]:
        segments = [{"id": i, "label_id": n, "label": name, "frame_ids": f} for i, (n, name, f) in enumerate(actions)]
        return {"metadata": {"frame_rate": 30.0, "split": "train"}, "action_localisation": segments}

    write(tmp_path / "all_train.json", {"video_1": video((2, "Lifting", [30, 90]), (0, "Other", [90, 120]))})
    write(tmp_path / "all_valid.json", {"video_2": video((2, "Lifting", [0, 15])), "video_3": {"metadata": {}}})
    write(tmp_path / "videos/video_1.mp4")
    data = load_dataset(tmp_path, "perception_test")
    assert rows(data) == {
        "video_1#0": ("train", ["Lifting"]),
        "video_1#1": ("train", ["Other"]),
        "video_2#0": ("test", ["Lifting"]),
    }
    assert (data.examples[0].start_seconds, data.examples[0].end_seconds) == (1.0, 3.0)
    assert kinds(data) == {"missing file": ["video_2#0"]}


@pytest.mark.parametrize(("what", "label"), [("verb", "take"), ("noun", "cup")])
def test_epic_kitchens(tmp_path: Path, what: str, label: str) -> None:
    header = "narration_id,participant_id,video_id,start_timestamp,stop_timestamp,verb_class,noun_class\n"
    write(tmp_path / "EPIC_100_train.csv", header + "P01_01_0,P01,P01_01,00:00:01.50,01:00:02.25,0,1\n")
    write(tmp_path / "EPIC_100_validation.csv", header + "P02_03_7,P02,P02_03,00:00:01.00,00:00:02.00,0,1\n")
    write(tmp_path / "EPIC_100_verb_classes.csv", "id,key,instances,category\n0,take,[],x\n")
    write(tmp_path / "EPIC_100_noun_classes.csv", "id,key,instances,category\n0,tap,[],x\n1,cup,[],x\n")
    write(tmp_path / "P01/videos/P01_01.MP4")
    write(tmp_path / "cut/P02_03_7.mp4")
    data = load_dataset(tmp_path, f"epic_{what}")
    assert rows(data) == {"P01_01_0": ("train", [label]), "P02_03_7": ("test", [label])}
    first, second = data.examples
    assert (first.start_seconds, first.end_seconds) == (1.5, 3602.25)
    assert (second.start_seconds, second.path) == (None, tmp_path / "cut/P02_03_7.mp4")
    assert kinds(data) == {}


def test_kinetics(tmp_path: Path) -> None:
    header = "label,youtube_id,time_start,time_end,split\n"
    write(tmp_path / "train.csv", header + "abseiling,-ab_1,3,13,train\nyoga,xyz,0,10,train\n")
    write(tmp_path / "val.csv", header + "yoga,QQ,100,110,val\n")
    write(tmp_path / "train/abseiling/-ab_1_000003_000013.mp4")
    write(tmp_path / "val/QQ.mp4", "another")
    data = load_dataset(tmp_path, "k400")
    assert rows(data) == {
        "-ab_1_000003_000013": ("train", ["abseiling"]),
        "xyz_000000_000010": ("train", ["yoga"]),
        "QQ_000100_000110": ("test", ["yoga"]),
    }
    assert kinds(data) == {"missing file": ["xyz_000000_000010"]}


def test_hmdb51(tmp_path: Path) -> None:
    write(tmp_path / "splits/wave_test_split1.txt", "a b.avi 1 \nc.avi 2 \nd.avi 0 \n")
    write(tmp_path / "splits/brush_hair_test_split1.txt", "e.avi 1\n")
    write(tmp_path / "wave/a b.avi", "one")
    data = load_dataset(tmp_path, "hmdb51")
    assert data.classes == ("brush_hair", "wave")
    assert rows(data) == {
        "wave/a b": ("train", ["wave"]),
        "wave/c": ("test", ["wave"]),
        "brush_hair/e": ("train", ["brush_hair"]),
    }
    assert kinds(data) == {"missing file": ["brush_hair/e", "wave/c"]}


def test_charades_ego_is_multi_label(tmp_path: Path) -> None:
    write(tmp_path / "Charades_v1_classes.txt", "c000 Holding some clothes\nc001 Putting clothes somewhere\n")
    header = "id,subject,scene,actions,length,egocentric\n"
    write(
        tmp_path / "CharadesEgo_v1_train.csv",
        header + 'A1EGO,x,Hall,c001 1.0 2.0;c000 0.0 9.5,10,Yes\nB2,x,y,"",3,No\n',
    )
    write(tmp_path / "CharadesEgo_v1_test.csv", header + "C3,x,y,c157 0 1,3,No\nD4,x,y,c000 0 1;c000 2 3,3,No\n")
    for name in ("A1EGO", "B2", "D4"):
        write(tmp_path / f"{name}.mp4", name)
    data = load_dataset(tmp_path, "charades_ego")
    assert data.multi_label
    assert rows(data) == {
        "A1EGO": ("train", list(data.classes)),
        "B2": ("train", []),
        "D4": ("test", [data.classes[0]]),
    }
    assert kinds(data) == {"wrong label": ["C3"]}


def test_ucf101(tmp_path: Path) -> None:
    write(tmp_path / "lists/classInd.txt", "1 ApplyEyeMakeup\n2 YoYo\n")
    write(tmp_path / "lists/trainlist01.txt", "YoYo/v_YoYo_g08_c01.avi 2\n")
    write(tmp_path / "lists/testlist01.txt", "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi\nNone/v_None.avi\n")
    write(tmp_path / "UCF-101/YoYo/v_YoYo_g08_c01.avi")
    data = load_dataset(tmp_path, "ucf101")
    assert rows(data)["v_YoYo_g08_c01"] == ("train", ["YoYo"])
    assert kinds(data) == {"missing file": ["v_ApplyEyeMakeup_g01_c01"], "wrong label": ["v_None"]}


def test_jester(tmp_path: Path) -> None:
    write(tmp_path / "jester-v1-labels.csv", "Swiping Left\nNo gesture\n")
    write(tmp_path / "jester-v1-train.csv", "34870;No gesture\n")
    write(tmp_path / "jester-v1-validation.csv", "9;Swiping Left\n10;Swiping\n")
    write(tmp_path / "20bn-jester-v1/34870/00001.jpg")
    data = load_dataset(tmp_path, "jester")
    assert rows(data) == {"34870": ("train", ["No gesture"]), "9": ("test", ["Swiping Left"])}
    assert data.examples[0].path == tmp_path / "20bn-jester-v1/34870"
    assert kinds(data) == {"missing file": ["9"], "wrong label": ["10"]}


def test_a_folder_of_classes_with_and_without_splits(tmp_path: Path) -> None:
    for name in ("a/one.mp4", "b/deep/two.MKV", "b/notes.txt"):
        write(tmp_path / "flat" / name, name)
    data = load_dataset(tmp_path / "flat")
    assert rows(data) == {"a/one.mp4": ("none", ["a"]), "b/deep/two.MKV": ("none", ["b"])}
    assert verify(data).ok
    for name in ("train/a/1.mp4", "valid/a/2.mp4", "test/b/3.mp4"):
        write(tmp_path / "split" / name, name)
    assert load_dataset(tmp_path / "split").counts() == {"train": 1, "val": 1, "test": 1}


def test_pictures_of_a_class_and_not_the_frames_of_a_clip(tmp_path: Path) -> None:
    for name in ("a/one.JPG", "a/two.png", "b/three.webp", "b/clip/0001.jpg", "b/clip/0002.jpg"):
        write(tmp_path / name, name)
    assert rows(load_dataset(tmp_path)) == {
        "a/one.JPG": ("none", ["a"]),
        "a/two.png": ("none", ["a"]),
        "b/three.webp": ("none", ["b"]),
    }


def test_csv_with_and_without_a_header(tmp_path: Path) -> None:
    write(tmp_path / "plain/train.csv", "v/a.mp4,0\nv/b.mp4,2\n")
    write(tmp_path / "plain/test.csv", "v/c.mp4,1\nv/a.mp4,0\n")
    write(tmp_path / "plain/v/a.mp4")
    data = load_dataset(tmp_path / "plain")
    assert data.classes == ("0", "1", "2")
    assert rows(data)["train/v/b.mp4"] == ("train", ["2"])
    assert kinds(data) == {
        "missing file": ["test/v/c.mp4", "train/v/b.mp4"],
        "in two splits": ["test/v/a.mp4"],
    }
    text = "id,file,label,split,start,end\nx,a.mp4,run,train,1.5,2\ny,a.mp4,walk,test,,\n"
    text += "z,b.mp4,,train,,\nw,b.mp4,run,dev,,\n"
    write(tmp_path / "header/labels.csv", text)
    write(tmp_path / "header/a.mp4")
    data = load_dataset(tmp_path / "header")
    assert rows(data) == {"x": ("train", ["run"]), "y": ("test", ["walk"])}
    assert (data.examples[0].start_seconds, data.examples[0].end_seconds) == (1.5, 2.0)
    assert kinds(data) == {"wrong label": ["w", "z"]}


def test_json_lines(tmp_path: Path) -> None:
    lines = [
        {"id": "p", "file": "a.mp4", "label": "run", "split": "train"},
        {"id": "q", "file": "b.mp4", "label": "walk", "split": "test"},
        {"id": "q", "file": "b2.mp4", "label": "walk", "split": "test", "video": "r"},
        {"id": "s", "file": "c.mp4", "label": "walk", "split": "val", "video": "r"},
    ]
    write(tmp_path / "labels.jsonl", "\n".join(map(json.dumps, lines)))
    write(tmp_path / "a.mp4", "the same bytes")
    write(tmp_path / "b.mp4", "the same bytes")
    write(tmp_path / "b2.mp4", "other bytes")
    write(tmp_path / "c.mp4", "words of it")
    found = kinds(load_dataset(tmp_path))
    assert found == {"same id": ["q"], "in two splits": ["q"], "same content in two splits": ["q"]}
    write(tmp_path / "labels.jsonl", '{"file": "a.mp4"}\n')
    with pytest.raises(InvalidArgumentError, match="line 1"):
        load_dataset(tmp_path)


def test_views_of_one_video_are_of_one_class(tmp_path: Path) -> None:
    lines = [
        {"file": f"{n}.mp4", "label": n, "split": "train", "video": v} for n, v in (("a", "x"), ("b", "x"), ("c", "y"))
    ]
    write(tmp_path / "labels.jsonl", "\n".join(map(json.dumps, lines)))
    data = load_dataset(tmp_path)
    assert [e.id for e in data.examples] == ["c.mp4"]
    assert kinds(data)["wrong label"] == ["a.mp4", "b.mp4"]


def test_every_benchmark_has_a_reader_and_says_what_it_lacks(tmp_path: Path) -> None:
    assert {known.reader for known in BENCHMARKS.values()} == set(READERS)
    for name in BENCHMARKS:
        with pytest.raises(MediaNotFoundError, match="no annotation file"):
            load_dataset(tmp_path, name)
    with pytest.raises(InvalidArgumentError, match="none was found"):
        load_dataset(tmp_path)
    with pytest.raises(InvalidArgumentError, match="jester"):
        load_dataset(tmp_path, "imagenet")
    with pytest.raises(MediaNotFoundError):
        load_dataset(tmp_path / "absent")


def test_a_folder_of_frames_is_read_in_order(tmp_path: Path) -> None:
    from labelled import ToneBackbone

    from onevision_encoder.evaluate.datasets import Example
    from onevision_encoder.evaluate.features import FeatureReader
    from onevision_encoder.tokens import TokenizeConfig

    for i, grey in enumerate((0, 128, 255)):
        Image.new("RGB", (28, 28), (grey,) * 3).save(tmp_path / f"{i:05d}.png")
    reader = FeatureReader(backbone=ToneBackbone(), reading=TokenizeConfig.of(policy="dense", max_patches=4))
    example = Example(id="a", video="a", path=tmp_path, classes=(0,), split="train")
    features = reader.read([example])["a"]
    assert features[:, 0].tolist() == pytest.approx([-1, 0, 255 / 128 - 1])
    (tmp_path / "00001.png").write_bytes(b"broken")
    reader = FeatureReader(backbone=ToneBackbone(), reading=reader.reading)
    assert reader.read([example]) == {}
    assert "00001.png" in reader.failures["a"]
