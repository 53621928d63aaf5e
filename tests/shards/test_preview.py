from dataclasses import replace

import numpy as np
import pytest
from made_studies import study_of
from PIL import Image

from shards import lettering, preview
from study.errors import UserError
from study.records import Matrix, Report, Scan

RPI: Matrix = ((0, 0, -2, 30), (0, 2, 0, -30), (-4, 0, 0, 30), (0, 0, 0, 1))
LPS: Matrix = ((0, 0, 2, -30), (0, 2, 0, -30), (4, 0, 0, -30), (0, 0, 0, 1))
SAGITTAL: Matrix = ((4, 0, 0, -30), (0, 0, 2, -30), (0, -2, 0, 30), (0, 0, 0, 1))


def blob_at(affine: Matrix, point_mm: tuple[float, float, float]) -> Scan:
    """A dark scan (16, 32, 32) with a bright ball at a place in LPS."""
    index = np.stack(np.meshgrid(*map(np.arange, (16, 32, 32)), indexing="ij"), -1)
    matrix = np.array(affine)
    position_mm = index @ matrix[:3, :3].T + matrix[:3, 3]
    ball = np.linalg.norm(position_mm - point_mm, axis=-1) < 8
    return replace(
        study_of(0).scans[0], array=np.where(ball, 255, 20).astype(np.uint8), affine=affine
    )


def centre_of_brightness(picture: Image.Image, tile: int) -> tuple[float, float]:
    """Of the middle tile, as (right, down) from its centre in fractions of a half."""
    pixels = np.asarray(picture.convert("RGB"))[:tile, tile + 2 : 2 * tile + 2]
    grey = (pixels.min(axis=2) > 200) & (np.ptp(pixels.astype(int), axis=2) < 10)  # not the letters
    rows, columns = np.nonzero(grey)
    return (float(columns.mean()) / tile * 2 - 1, float(rows.mean()) / tile * 2 - 1)


@pytest.mark.parametrize("affine", [RPI, LPS])
def test_the_patients_left_is_on_the_viewers_right(affine: Matrix) -> None:
    strip = preview.scan_strip(blob_at(affine, (18, 0, 0)), tile=120)
    right, down = centre_of_brightness(strip, 120)
    assert right > 0.3
    assert abs(down) < 0.1


@pytest.mark.parametrize("affine", [RPI, LPS])
def test_the_front_is_up_in_an_axial_slice(affine: Matrix) -> None:
    right, down = centre_of_brightness(
        preview.scan_strip(blob_at(affine, (0, -18, 0)), tile=120), 120
    )
    assert down < -0.3
    assert abs(right) < 0.1


def test_a_sagittal_slice_has_the_face_left_and_the_head_up() -> None:
    right, down = centre_of_brightness(
        preview.scan_strip(blob_at(SAGITTAL, (0, -18, 18)), tile=120), 120
    )
    assert right < -0.3
    assert down < -0.3


def test_the_letters_are_drawn() -> None:
    dark = replace(blob_at(RPI, (0, 0, 0)), array=np.zeros((16, 32, 32), np.uint8))
    pixels = np.asarray(preview.scan_strip(dark, tile=120))[:120, :120].astype(int)
    marked = (pixels[..., 0] > 150) & (pixels[..., 2] < 120)
    for edge in (marked[40:80, :15], marked[40:80, -15:], marked[:18, 40:80], marked[-18:, 40:80]):
        assert edge.any()
    assert not marked[20:100, 20:100].any()


def test_the_aspect_is_that_of_the_patient() -> None:
    flat: Matrix = ((0, 0, -1, 0), (0, 3, 0, 0), (4, 0, 0, 0), (0, 0, 0, 1))
    scan = replace(study_of(0).scans[0], array=np.full((4, 10, 30), 255, np.uint8), affine=flat)
    pixels = np.asarray(preview.scan_strip(scan, tile=120))[:120, :120]
    white = pixels.min(axis=2) > 200
    assert white.any(axis=1).sum() >= 118
    assert white.any(axis=0).sum() >= 118


def test_middle_slices() -> None:
    assert preview.middle_slices(48, 3) == [12, 24, 36]
    assert preview.middle_slices(1, 3) == [0]
    assert preview.middle_slices(2, 5) == [0, 1]


def test_a_sheet_of_40_scans_holds_them_all() -> None:
    sheet = preview.contact_sheet([study_of(0, scans=40)], tile=60)
    assert sheet.height > 40 / preview.STRIPS_A_ROW * 60
    assert preview.contact_sheet([]).width > 0


def test_a_sheet_that_viewers_refuse_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "MAX_HEIGHT", 500)
    assert preview.contact_sheet([study_of(0)], tile=60).height < 500
    with pytest.raises(UserError, match=r"picture of 392 x .*--limit.*\.html"):
        preview.contact_sheet((study_of(n) for n in range(9)), tile=60)


def test_a_long_sentence_makes_the_sheet_higher_not_wider() -> None:
    def sheet(sentence: str) -> Image.Image:
        return preview.contact_sheet(
            [replace(study_of(0), report=Report({"v": (sentence,)}))], tile=60
        )

    short, long, word = sheet("word"), sheet("word " * 100), sheet("w" * 500)
    assert short.width == long.width == word.width
    assert min(long.height, word.height) >= short.height + 9 * lettering.LINE


def test_a_sheet_says_when_its_font_lacks_letters() -> None:
    def height(sentence: str) -> int:
        report = Report({"v": (sentence,)})
        return preview.contact_sheet([replace(study_of(0), report=report)], tile=150).height

    assert height("Gr\u00f6\u00dfe") > height("Groesse")


def test_the_letters_grow_with_the_slice() -> None:
    def yellow(tile: int) -> int:
        dark = replace(blob_at(RPI, (0, 0, 0)), array=np.zeros((16, 32, 32), np.uint8))
        pixels = np.asarray(preview.scan_picture(dark, tile=tile)).astype(int)
        return int(((pixels[..., 0] > 150) & (pixels[..., 2] < 120)).sum())

    assert yellow(300) > 2.5 * yellow(150)


@pytest.mark.parametrize(("dtype", "top"), [("uint16", 65535), ("float16", 1.0)])
def test_other_dtypes_look_the_same(dtype: str, top: float) -> None:
    scan = blob_at(RPI, (18, 0, 0))
    other = replace(scan, array=(scan.array / 255 * top).astype(dtype))
    pictures = [np.asarray(preview.scan_strip(s, tile=60)).astype(int) for s in (scan, other)]
    assert np.abs(pictures[0] - pictures[1]).max() <= 2
