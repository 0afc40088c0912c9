"""The inputs are real enough: ONNX Runtime names the files, finds the text, and cuts the sentences."""

import fetch_models
import model_inputs
import numpy as np
import onnxruntime
import pytest


@pytest.fixture(scope="module")
def paths():
    return fetch_models.fetch(list(fetch_models.MODELS))


def answer(name, inputs, paths):
    return onnxruntime.InferenceSession(paths[name]).run(None, inputs)[0]


def test_magika_names_files(paths):
    scores = answer("magika", model_inputs.magika_inputs(model_inputs.magika_files(7), paths), paths)
    labels = model_inputs.magika_labels(scores, paths)
    assert labels == ["python", "cmake", "shell", "cpp", "yaml", "elf", "jsonl"]


def test_cls_sees_which_lines_are_upside_down(paths):
    scores = answer("ppocr_cls", model_inputs.ocr_cls_inputs(model_inputs.LINES, 48, 192), paths)
    assert scores.argmax(axis=1).tolist() == [0, 1, 0, 1, 0, 1]


def test_det_finds_text_where_it_was_drawn(paths):
    inputs = model_inputs.ocr_det_inputs(1, 320, 480)
    rows = (answer("ppocr_det", inputs, paths)[0, 0] > 0.3).sum(axis=1) > 100
    assert np.count_nonzero(np.diff(rows.astype(int)) == 1) == 6, "six lines were drawn"
    assert not rows[230:].any(), "nothing was drawn below"


def test_deepcut_cuts_words(paths):
    cuts = answer("deepcut", model_inputs.deepcut_inputs(model_inputs.THAI[:13], paths), paths).ravel() > 0.5
    ends = [*np.flatnonzero(cuts[1:]) + 1, 13]
    words = [model_inputs.THAI[a:b] for a, b in zip([0, *ends], ends)]
    assert words == ["ทดสอบ", "การ", "ตัด", "คำ"]


def test_attacut_cuts_words(paths):
    cuts = answer("attacut_c", model_inputs.attacut_inputs(model_inputs.THAI[:13], paths), paths) > 0
    assert 2 <= cuts.sum() <= 5


@pytest.mark.parametrize("case", model_inputs.CASES, ids=lambda case: case.name)
def test_every_dynamic_extent_takes_three_sizes(case, paths):
    shapes = [tuple(v.shape for v in case.inputs(size, paths).values()) for size in case.sizes]
    for axis, extents in enumerate(zip(*(sum(shape, ()) for shape in shapes), strict=True)):
        assert len(set(extents)) in (1, *range(3, 9)), f"extent {axis}: {extents}"
