"""What an artifact's memory is said to be: --profile, --memory-map, gcomp inspect."""

import json
import re
import xml.etree.ElementTree as ElementTree

import pytest
from browser import CHROMIUM, Browser
from conftest import AFFINE, chain
from gcomp_cli import ROOT, gcomp, gcomp_ok

SVG = "{http://www.w3.org/2000/svg}"
APART = ["--optimizer-excluding=inplace"]  # results in memory of their own
USER = ROOT / "graphs" / "user"


def compiled(graph, folder, *options):
    """Profile of the memory, and the picture."""
    gcomp_ok(graph, "-o", folder / "x.k", "--emit=kernels", f"--profile={folder / 'p.json'}",
             f"--memory-map={folder / 'map.svg'}", *options)  # fmt: skip
    return json.loads((folder / "p.json").read_text())["memory"], (folder / "map.svg").read_text()


def buffers_of(svg):
    """(offset, bytes, first, last) of the rectangles, and their boxes in the picture."""
    rows = []
    for rect in ElementTree.fromstring(svg).iter(f"{SVG}rect"):
        if rect.get("class") != "b":
            continue
        _, *numbers = map(int, rect.get("data-b").split(","))
        box = [float(rect.get(a)) for a in ("x", "y", "width", "height")]
        rows.append((numbers, box, rect.find(f"{SVG}title").text))
    return rows


def rounded(size):
    return (size + 63) // 64 * 64


def max_live(buffers):
    """Brute force: what is live at each step."""
    last = max((b[3] for b in buffers), default=-1)
    return max((sum(rounded(b[1]) for b in buffers if b[2] <= step <= b[3]) for step in range(last + 1)), default=0)


def overlaps(a, b):
    in_time = a[2] <= b[3] and b[2] <= a[3]
    in_space = a[0] < b[0] + b[1] and b[0] < a[0] + a[1]
    return in_time and in_space


@pytest.mark.parametrize("graph", [ROOT / "graphs" / "bayesian_nn.json", USER / "translation.json", USER / "rnn.json"])
def test_profile_and_picture_agree_with_brute_force(graph, tmp_path):
    told, svg = compiled(graph, tmp_path)
    rows = buffers_of(svg)
    plan = [r[0] for r in rows]
    assert len(plan) == told["buffers"] > 5
    assert told["planned_bytes"] == max(rounded(b[0] + b[1]) for b in plan)
    assert told["max_live_bytes"] == max_live(plan)
    assert told["buffer_bytes"] == sum(rounded(b[1]) for b in plan)
    assert told["saved"]["reuse_bytes"] == told["buffer_bytes"] - told["planned_bytes"]
    assert told["ratio"] == pytest.approx(told["planned_bytes"] / told["max_live_bytes"])
    for i, a in enumerate(plan):
        assert not any(overlaps(a, b) for b in plan[:i])
    # The picture says the same: boxes are where the numbers are, and do not overlap either.
    steps = json.loads((tmp_path / "p.json").read_text())["lowering"]["kernel_calls"]
    assert steps > 0
    for numbers, (x, y, width, height), title in rows:
        assert width > 0 and height == pytest.approx(numbers[1] / told["planned_bytes"] * 640, abs=0.01)
        assert y + height == pytest.approx(70 + 640 - numbers[0] / told["planned_bytes"] * 640, abs=0.01)
        assert f"steps {numbers[2]} to {numbers[3]}" in title
        assert x >= 90 and x + width <= 90 + 1400 + 0.01


def test_the_table_says_it_too(tmp_path):
    done = gcomp(USER / "rnn.json", "-o", tmp_path / "x.so", "--profile")
    assert done.returncode == 0
    told, _ = compiled(USER / "rnn.json", tmp_path)
    line = re.search(r"memory  ([\d.]+) KiB planned for (\d+) buffers, at least ([\d.]+) live at once", done.stderr)
    assert float(line[1]) == pytest.approx(told["planned_bytes"] / 1024, abs=0.06)
    assert int(line[2]) == told["buffers"]
    assert "saved by reuse" in done.stderr


def test_views_are_counted(tmp_path):
    graph = json.loads(json.dumps(AFFINE))
    graph["nodes"].append({"op": "reshape", "in": [3], "out": [7], "attrs": {"shape": [3, "N"]}})
    graph["nodes"].append({"op": "reduce_sum", "in": [7], "out": [8], "attrs": {"axes": [1]}})
    graph["outputs"].append({"name": "r", "id": 8})
    path = tmp_path / "views.json"
    path.write_text(json.dumps(graph))
    told, svg = compiled(path, tmp_path)
    assert told["symbols_as_64"] == ["N"] and "pass --dim" in svg
    known, svg = compiled(path, tmp_path, "--dim", "N=1000")
    assert known["symbols_as_64"] == [] and "pass --dim" not in svg
    assert known["saved"]["views"] == told["saved"]["views"]
    assert known["saved"]["view_bytes"] * 64 == told["saved"]["view_bytes"] * 1000


def test_names_are_escaped_and_bytes_are_the_same(tmp_path):
    graph = chain(3)
    graph["nodes"] = [{"op": "cumsum", "in": [i], "out": [i + 1], "attrs": {"axis": 0}, "loc": "<b>&\"' \u00e9"}
                      for i in range(3)]  # fmt: skip
    path = tmp_path / "a<b&c.json"
    path.write_text(json.dumps(graph))
    _, first = compiled(path, tmp_path, *APART)
    _, second = compiled(path, tmp_path, *APART)
    assert first == second
    root = ElementTree.fromstring(first)
    assert root.find(f"{SVG}title").text == "Memory of a<b&c.json"
    assert any("<b>&\"'" in title for _, _, title in buffers_of(first))


def test_many_buffers_stay_readable(tmp_path):
    """50,000 buffers: a few MB, the least drawn as one shape."""
    count = 50_000
    graph = chain(count)
    graph["nodes"] = [{"op": "cumsum", "in": [i], "out": [i + 1], "attrs": {"axis": 0}} for i in range(count)]
    path = tmp_path / "long.json"
    path.write_text(json.dumps(graph))
    told, svg = compiled(path, tmp_path, "-O", "none", *APART)
    assert told["buffers"] > 40_000
    assert len(svg) < 3 << 20
    rows = buffers_of(svg)
    assert len(rows) == 8000
    assert f"The {told['buffers'] - 8000} least buffers" in svg


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (scripts/setup.sh test)")
def test_a_browser_shows_it(tmp_path):
    told, svg = compiled(USER / "translation.json", tmp_path)
    page = tmp_path / "page.html"
    page.write_text(f'<!doctype html><meta charset="utf-8"><body data-ready="1" style="margin:0">{svg}')
    with Browser() as browser:
        browser.open(page)
        assert browser.errors() == []
        assert browser.js("document.querySelectorAll('rect.b').length") == told["buffers"]
        # In sight, and within the picture.
        boxes = browser.js("""[...document.querySelectorAll('rect.b, text, path.live')].map(e => {
            const b = e.getBoundingClientRect(); return [b.left, b.right, b.top, b.bottom, b.width * b.height]; })""")
        width = browser.js("document.querySelector('svg').getBoundingClientRect().right")
        for left, right, top, _, area in boxes:
            assert 0 <= left < right <= width and top >= 0 and area > 0


# ---- gcomp inspect ----


def inspected(path, *options):
    return json.loads(gcomp_ok("inspect", path, "--json", *options))["memory"]


def test_inspect_tells_a_static_artifact(tmp_path):
    graph = ROOT / "graphs" / "bayesian_nn.json"
    gcomp_ok(graph, "-o", tmp_path / "x.so", "--code=plan", f"--profile={tmp_path / 'p.json'}")
    told = json.loads((tmp_path / "p.json").read_text())["memory"]
    found = inspected(tmp_path / "x.so")
    assert found["arena_bytes"] == told["planned_bytes"] and found["max_live_bytes"] == told["max_live_bytes"]
    assert found["output_bytes"] == told["output_bytes"] and found["input_bytes"] == 8 * (2 * 5 + 5 * 5 + 5)


@pytest.fixture
def symbolic(tmp_path):
    """Running sums of running sums of n numbers: a few buffers of 8 n bytes."""
    graph = chain(6)
    graph["symbols"] = ["n"]
    graph["inputs"][0]["shape"] = ["n"]
    graph["nodes"] = [{"op": "cumsum", "in": [i], "out": [i + 1], "attrs": {"axis": 0}} for i in range(6)]
    path = tmp_path / "sums.json"
    path.write_text(json.dumps(graph))
    return path


def test_inspect_tells_a_symbolic_artifact(symbolic, tmp_path):
    gcomp_ok(symbolic, "-o", tmp_path / "x.so", *APART)
    asked = inspected(tmp_path / "x.so")
    assert asked["depends_on"] == "n" and "--dim n=N" in asked["hint"]
    assert any(re.fullmatch(r"\d+ of (8\*n|n\*8) bytes", text) for text in asked["largest"])
    for n in (2, 7, 1000, 123_456):
        found = inspected(tmp_path / "x.so", "--dim", f"n={n}")
        gcomp_ok(symbolic, "-o", tmp_path / "s.so", *APART, "--code=plan", "--dim", f"n={n}")
        static = inspected(tmp_path / "s.so")
        assert found["arena_bytes"] == static["arena_bytes"]
        assert found["arena_bytes"] == 2 * rounded(8 * n)
        assert found["input_bytes"] == found["output_bytes"] == 8 * n
    text = gcomp_ok("inspect", tmp_path / "x.so", "--dim", "n=1000")
    assert "  arena_bytes: 16000" in text


def test_inspect_refuses_what_is_not_there(symbolic, tmp_path):
    gcomp_ok(symbolic, "-o", tmp_path / "x.so", *APART)
    wrong = gcomp("inspect", tmp_path / "x.so", "--dim", "m=3")
    assert wrong.returncode == 2 and "no symbol 'm'" in wrong.stderr
    huge = gcomp("inspect", tmp_path / "x.so", "--dim", f"n={1 << 62}")
    assert huge.returncode == 2 and "overflows" in huge.stderr
