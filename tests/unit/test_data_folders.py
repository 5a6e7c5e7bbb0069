"""The user's own videos and images: found, split, decoded, kept, learned from; and what is wrong with them is named."""

import os
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from node_image import registry
from node_image.data.class_folders import held_out
from node_image.data.decoded import decode_all
from node_image.data.folder import VARIABLE, DataNotFoundError, DataUnreadableError
from node_image.data.task import Task
from node_image.data.video_folder import decode_clip, groups_of
from node_image.learner import build
from node_image.parameters import read
from node_image.spec import Chosen, TaskSpec
from tests.unit.learners import node_spec

FRAMES, ROWS, COLUMNS = 12, 48, 64


def film(file: Path, step: int, row: int, frames: int = FRAMES) -> None:
    """A white square that moves across a black picture, `step` columns a frame, from one side to the other."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = COLUMNS, ROWS, "yuv420p"
        for number in range(frames):
            picture = np.zeros((ROWS, COLUMNS, 3), np.uint8)
            column = (0 if step > 0 else COLUMNS - 16) + number * step
            picture[row : row + 16, max(0, column) : column + 16] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder: two classes of 12 videos in UCF101's names, four groups of three; and both kinds of lists."""
    data = tmp_path_factory.mktemp("data")
    train: list[str] = []
    test: list[str] = []
    for label, step in (("Leftwards", -4), ("Rightwards", 4)):
        rows = []
        for group in range(1, 5):
            for clip in range(1, 4):
                name = f"v_{label}_g{group:02}_c{clip:02}.{'avi' if clip < 3 else 'mp4'}"
                film(data / "videos" / label / name, step, row=6 * group + clip)
                (train if group < 4 else test).append(f"{label}/{name}")
                rows.append(f"{name} {0 if clip == 3 else 1 if group < 4 else 2}")
        (data / "hmdb").mkdir(exist_ok=True)
        (data / "hmdb" / f"{label}_test_split2.txt").write_text("\n".join(rows))
    (data / "ucf").mkdir()
    (data / "ucf" / "trainlist01.txt").write_text("".join(f"{name} 1\n" for name in [*train, "Jump/v_none.avi"]))
    (data / "ucf" / "testlist01.txt").write_text("".join(f"{name}\n" for name in test))
    return data


def loaded(name: str, given: dict[str, Any], data: Path, data_seed: int = 0) -> Task:
    source = registry.TASKS[name]
    return source.load(read(source.Parameters, given), data_seed, str(data))


def test_a_video_becomes_a_clip_of_frames_from_its_whole_length(videos: Path) -> None:
    clip = decode_clip(videos / "videos" / "Rightwards" / "v_Rightwards_g01_c01.avi", frames=4, size=16)
    assert clip.shape == (4, 16, 16)
    assert clip.dtype == np.uint8
    brightest = clip.sum(axis=1).argmax(axis=1)
    # Frames 1, 4, 7 and 10 of 12, the square 16 wide at 4 columns a frame; a quarter of that in the clip.
    np.testing.assert_allclose(brightest, (4 * np.array([1, 4, 7, 10]) + 8) / 4, atol=2)
    assert clip.max() > 230
    assert clip.min() < 20


def test_a_video_with_fewer_frames_than_asked_repeats_them(tmp_path: Path) -> None:
    film(tmp_path / "short.mp4", 4, 8, frames=3)
    assert decode_clip(tmp_path / "short.mp4", frames=8, size=8).shape == (8, 8, 8)


def test_without_lists_the_seed_splits_and_keeps_the_clips_of_one_scene_together(videos: Path) -> None:
    task = loaded("video_folder", {"frames": 4, "size": 16, "test_share": 0.25}, videos)
    assert task.train_x.shape == (18, 4, 16, 16)
    assert task.test_x.shape == (6, 4, 16, 16)
    assert task.classes == 2
    assert task.ids is not None
    for label in (0, 1):
        assert len(set(task.ids[task.train_y == label].tolist())) == 3
    others = [loaded("video_folder", {"frames": 4, "size": 16, "test_share": 0.25}, videos, seed) for seed in (1, 2)]
    assert any(not np.array_equal(other.ids, task.ids) for other in others if other.ids is not None)


def test_ucf101s_lists_say_what_is_for_training_and_for_testing(videos: Path) -> None:
    task = loaded("video_folder", {"frames": 2, "size": 8, "lists": "ucf"}, videos)
    assert task.ids is not None
    assert (len(task.train_y), len(task.test_y)) == (18, 6)
    assert set(task.ids.tolist()) == {1, 2, 3}


def test_hmdb51s_lists_also_leave_files_out(videos: Path) -> None:
    task = loaded("video_folder", {"frames": 2, "size": 8, "lists": "hmdb", "split": 2}, videos)
    assert (len(task.train_y), len(task.test_y)) == (12, 4)


def test_lists_of_a_split_that_there_is_not_are_named(videos: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"no lists of split 3: neither trainlist03\.txt"):
        loaded("video_folder", {"lists": "hmdb", "split": 3}, videos)


def test_only_the_videos_drawn_are_decoded(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []

    def decode(file: Path, frames: int, size: int) -> np.ndarray:
        opened.append(file)
        return np.zeros((frames, size, size), np.uint8)

    monkeypatch.setattr("node_image.data.video_folder.decode_clip", decode)
    task = loaded("video_folder", {"frames": 3, "size": 7, "train_samples": 5, "test_samples": 2}, videos)
    assert (len(task.train_y), len(task.test_y), len(opened)) == (5, 2, 7)


def test_a_device_learns_which_way_a_square_moves_from_a_stream_of_videos(videos: Path) -> None:
    given = {"frames": 6, "size": 16, "lists": "ucf"}
    task = TaskSpec("video_folder", given, Chosen("natural"), stream_per_s=2.0, data_dir=str(videos))
    learner = build(node_spec(0, devices=1, task=task, model="mlp", rule={"learning_rate": 0.1, "batch_size": 6}))
    assert learner.samples(3.0) == 6
    learner.train(60, 100.0, np.random.default_rng(0))
    assert learner.evaluate().accuracy == 1.0


def test_what_was_decoded_is_kept_until_the_file_changes(tmp_path: Path) -> None:
    root = tmp_path / "videos"
    opened: list[str] = []
    root.mkdir()
    files = [root / "one", root / "two"]
    for number, file in enumerate(files):
        file.write_bytes(bytes([number]))

    def decode(file: Path) -> np.ndarray:
        opened.append(file.name)
        return np.frombuffer(file.read_bytes(), np.uint8)

    first = decode_all(files, root, "bytes", decode)
    np.testing.assert_array_equal(first, decode_all(files, root, "bytes", decode))
    assert opened == ["one", "two"]
    files[1].write_bytes(b"\x09")
    os.utime(files[1], ns=(1, 1))
    assert decode_all(files, root, "bytes", decode).tolist() == [[0], [9]]
    assert opened == ["one", "two", "two"]
    for kept in (tmp_path / "videos.decoded").rglob("*.npy"):
        kept.write_bytes(b"damaged")
    np.testing.assert_array_equal(decode_all(files, root, "bytes", decode), [[0], [9]])


def test_files_that_cannot_be_decoded_are_all_named(tmp_path: Path) -> None:
    for label in ("a", "b"):
        film(tmp_path / "videos" / label / "good.mp4", 4, 8)
        film(tmp_path / "videos" / label / "fine.mp4", 4, 8)
    (tmp_path / "videos" / "a" / "noise.avi").write_bytes(b"\x00\x01" * 5000)
    whole = (tmp_path / "videos" / "b" / "good.mp4").read_bytes()
    (tmp_path / "videos" / "b" / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataUnreadableError, match=r"2 of 6 files cannot be decoded; repair or remove them") as told:
        loaded("video_folder", {}, tmp_path)
    assert "a/noise.avi" in str(told.value)
    assert "b/cut.mp4" in str(told.value)


def test_folders_that_are_not_there_or_hold_nothing_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataNotFoundError, match=rf"no folder {tmp_path}/videos\. Give the folder that holds videos"):
        loaded("video_folder", {}, tmp_path)
    (tmp_path / "videos" / "only").mkdir(parents=True)
    with pytest.raises(DataNotFoundError, match="two folders or more, one a class"):
        loaded("video_folder", {}, tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    source = registry.TASKS["image_folder"]
    with pytest.raises(DataNotFoundError, match="image_folder: no data folder is set"):
        source.load(read(source.Parameters, {}), 0, None)


@pytest.mark.parametrize("folder", ["", ".", "..", "a/../..", "/etc"])
def test_a_scenario_cannot_read_outside_the_data_folder(folder: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="named by its path below the data folder"):
        loaded("video_folder", {"folder": folder}, tmp_path)


def test_groups_are_read_from_the_names_of_all_files_or_none() -> None:
    groups = groups_of((Path("v_A_g07_c01.avi"), Path("v_B_g12_c03.avi")))
    assert groups is not None
    assert groups.tolist() == [7, 12]
    assert groups_of((Path("v_A_g07_c01.avi"), Path("other.avi"))) is None


def test_every_class_keeps_something_to_learn_from() -> None:
    labels = np.array([0, 1, 1, 2, 2, 2, 2, 2, 2, 2])
    test = held_out(labels, np.arange(10), 0.3, 0)
    assert [int(test[labels == label].sum()) for label in (0, 1, 2)] == [0, 1, 3]
    assert any((held_out(labels, np.arange(10), 0.3, seed) != test).any() for seed in range(1, 5))


def picture(file: Path, colour: tuple[int, int, int]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((20, 30, 3), colour, np.uint8)
    pixels[:, :15] //= 2
    Image.fromarray(pixels).save(file)


def test_images_are_split_by_folder_and_squeezed_to_a_square(tmp_path: Path) -> None:
    for part, number in (("train", 4), ("val", 2)):
        for label, colour in (("red", (200, 0, 0)), ("teal", (0, 100, 100))):
            for each in range(number):
                picture(tmp_path / "images" / part / label / f"{each}.{'png' if each % 2 else 'JPG'}", colour)
    task = loaded("image_folder", {"size": 8}, tmp_path)
    assert task.train_x.shape == (8, 3, 8, 8)
    assert (task.train_y.tolist(), task.test_y.tolist()) == ([0] * 4 + [1] * 4, [0, 0, 1, 1])
    np.testing.assert_allclose(task.train_x[1, :, 4, 7], (200, 0, 0), atol=3)
    np.testing.assert_allclose(task.train_x[1, :, 4, 0], (100, 0, 0), atol=3)
    grey = loaded("image_folder", {"size": 8, "colour": False, "train_samples": 3}, tmp_path)
    assert grey.train_x.shape == (3, 8, 8)
    picture(tmp_path / "images" / "val" / "blue" / "1.png", (0, 0, 99))
    with pytest.raises(DataNotFoundError, match=r"blue is no class of the training files \(red, teal\)"):
        loaded("image_folder", {}, tmp_path)


def test_images_without_a_train_folder_are_split_by_the_seed(tmp_path: Path) -> None:
    for label in ("a", "b"):
        for each in range(10):
            picture(tmp_path / "images" / label / f"{each}.png", (each, 0, 0))
    task = loaded("image_folder", {"size": 4, "test_share": 0.2}, tmp_path)
    assert (len(task.train_y), len(task.test_y)) == (16, 4)
    other = loaded("image_folder", {"size": 4, "test_share": 0.2}, tmp_path, data_seed=1)
    assert not np.array_equal(task.test_x, other.test_x)


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    for label in ("a", "b"):
        for each in range(3):
            picture(tmp_path / "images" / label / f"{each}.png", (9, 9, 9))
    broken = tmp_path / "images" / "a" / "0.png"
    broken.write_bytes(broken.read_bytes()[:60])
    (tmp_path / "images" / "b" / "text.png").write_text("not an image")
    with pytest.raises(DataUnreadableError, match=r"2 of 7 files.*a/0.png.*b/text.png"):
        loaded("image_folder", {}, tmp_path)
