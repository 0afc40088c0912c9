"""The page of --html in headless Chromium: what it shows, that a click follows a node, how large it may be."""

import json
import re
import time

import pytest
from browser import CHROMIUM, Browser
from conftest import chain
from gcomp_cli import ROOT, gcomp_ok

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (scripts/setup.sh test)")

HARD_NAME = "</script><b>\"'&\\ %1 = x"  # of a node: nothing of it may become markup or data


@pytest.fixture(scope="module")
def browser():
    with Browser() as b:
        yield b


def page_of(graph, folder, *options, command=(), output="x.so"):
    gcomp_ok(*command, graph, "-o", folder / output, "--html", folder / "page.html", *options)
    return folder / "page.html"


def rows(browser, stage_name):
    """The lines in sight of a column."""
    return browser.js(f"""[...[...document.querySelectorAll('.column')]
        .find(c => c.querySelector('.head b').textContent === '{stage_name}').querySelectorAll('.row')].map(r => r.textContent)""")


def test_it_shows_what_the_dumps_show(browser, tmp_path):
    path = page_of(ROOT / "graphs" / "mixture.json", tmp_path, f"--profile={tmp_path / 'p.json'}")
    browser.open(path)
    assert browser.errors() == []
    text = path.read_text()
    assert "http://" not in text and "https://" not in text  # nothing is loaded from elsewhere
    told = json.loads((tmp_path / "p.json").read_text())
    names = browser.js("[...document.querySelectorAll('.column .head b')].map(b => b.textContent)")
    assert names == ["read", *[p["name"] for p in told["passes"]["passes"]], "fusion"]
    # Columns hold the graph as opt prints it: every line, in order.
    printed = gcomp_ok("opt", ROOT / "graphs" / "mixture.json", "-o", "-").splitlines()
    wanted = [line.strip() for line in printed if line.startswith("  %") and "{base64" not in line]
    shown = browser.js("Array.from({length: stages.at(-1).count}, (_, n) => text(stages.length - 1, n))")
    assert len(shown) == told["passes"]["passes"][-1]["nodes_after"]
    assert [line for line in shown if "{...}" not in line and line in set(wanted)] == [
        line for line in wanted if line in set(shown)]  # fmt: skip
    assert len(set(wanted) & set(shown)) > 0.9 * len(shown)
    # A pass that changed nothing is folded.
    folded = browser.js("[...document.querySelectorAll('.column.folded .head b')].map(b => b.textContent)")
    idle = [p["name"] for p in told["passes"]["passes"] if p["nodes_before"] == p["nodes_after"] and not p["sweeps"]]
    assert idle and set(idle) <= set(folded)
    browser.js("window.before = document.querySelector('.column.folded').querySelectorAll('.row').length")
    browser.click(".column.folded .head")
    assert browser.js("before === 0 && document.querySelectorAll('.column.folded').length") == len(folded) - 1


def test_a_click_follows_a_node(browser, tmp_path):
    graph = {
        "version": 1, "symbols": ["N"],
        "inputs": [{"id": 0, "name": "x", "dtype": "float64", "shape": ["N"]}],
        "constants": [{"id": 1, "dtype": "float64", "shape": [], "data": [1.0]}],
        "nodes": [
            {"op": "exp", "in": [0], "out": [2], "loc": "the_exp"},
            {"op": "broadcast_like", "in": [1, 0], "out": [3], "attrs": {"axes": []}},
            {"op": "add", "in": [2, 3], "out": [4], "loc": HARD_NAME},
            {"op": "log", "in": [4], "out": [5], "loc": "the_log"},
            {"op": "sin", "in": [5], "out": [6]},
        ],
        "outputs": [{"name": "y", "id": 6}],
    }  # fmt: skip
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    browser.open(page_of(tmp_path / "graph.json", tmp_path))
    assert browser.errors() == []
    assert any(HARD_NAME.replace("\\", "\\\\").replace('"', '\\"') in r or HARD_NAME in r for r in rows(browser, "read"))
    assert browser.js("document.querySelectorAll('b').length > 0 && document.scripts.length") == 2
    # Click on log in the column "read".
    at = next(i for i, r in enumerate(rows(browser, "read")) if "= log(" in r)
    node = browser.js(f"document.querySelectorAll('.column .row')[{at}].dataset.node")
    browser.click(f".column .row[data-node='{node}']")
    kin = browser.js("""[...document.querySelectorAll('.column')].map(c =>
        [c.querySelector('.head b').textContent, [...c.querySelectorAll('.row.kin, .row.pick')].map(r => r.textContent)])""")
    kin = {name: lines for name, lines in kin if lines}
    assert [line for line in kin["read"] if "log(" in line]
    assert set(kin) == set(browser.js("[...document.querySelectorAll('.column:not(.folded) .head b')].map(b => b.textContent)"))
    assert kin["stabilize"] and all("softplus(" in line for line in kin["stabilize"])
    assert kin["fusion"] == kin["stabilize"]
    detail = browser.js("document.getElementById('detail').textContent")
    assert "by softplus at log" in detail and "kernel" in detail and "read by" in detail
    # Of a node that is gone: the rule that took its reader.
    browser.js("[...document.querySelectorAll('#detail a')].find(a => a.textContent.includes('= add(')).click()")
    gone = browser.js("document.getElementById('detail').textContent")
    assert "removed: what read it no longer does" in gone and re.search(r"its reader .*= log\(.*softplus", gone)
    browser.js("[...document.querySelectorAll('#detail a')].find(a => a.textContent.includes('= log(')).click()")
    # The details link to neighbours.
    browser.js("[...document.querySelectorAll('#detail a')].find(a => a.textContent.includes('= sin(')).click()")
    assert "= sin(" in browser.js("document.querySelector('.row.pick').textContent")


def test_rules_sort_and_the_timeline_has_all_phases(browser, tmp_path):
    path = page_of(ROOT / "graphs" / "mixture.json", tmp_path, f"--profile={tmp_path / 'p.json'}")
    browser.open(path)
    told = json.loads((tmp_path / "p.json").read_text())
    browser.click("#tabs button[data-tab=rules]")
    column = "[...document.querySelectorAll('#rule-table tbody tr')].map(r => +r.children[{}].textContent)"
    applied = browser.js(column.format(2))
    assert applied == sorted(applied, reverse=True)
    assert sum(applied) == sum(s["applied"] for p in told["passes"]["passes"] for s in p["sweeps"])
    browser.click("#rule-table th[data-k='3']")
    tried = browser.js(column.format(3))
    assert tried == sorted(tried, reverse=True)
    browser.click("#rule-table th[data-k='3']")
    assert browser.js(column.format(3)) == tried[::-1]
    browser.click("#tabs button[data-tab=timeline]")
    bars = browser.js("[...document.querySelectorAll('.bar.phase')].map(b => b.title.split(':')[0])")
    assert bars == [p["name"] for p in told["phases"]]
    assert browser.js("document.querySelectorAll('.bar.module').length") == len(told["modules"])
    browser.click("#tabs button[data-tab=kernels]")
    functions = browser.js("[...document.querySelectorAll('#kernel-table tbody tr')].map(r => r.children[0].textContent)")
    assert sorted(functions) == sorted(f["name"] for m in told["modules"] for f in m["functions"])
    assert browser.errors() == []


def test_what_is_copied_between_host_and_gpu(browser, tmp_path):
    options = ["--target", "cpu,cuda", "--cuda-everything", "--emit", "cuda", f"--profile={tmp_path / 'p.json'}"]
    browser.open(page_of(ROOT / "graphs" / "mixture.json", tmp_path, *options, output="x.cu"))
    browser.click("#tabs button[data-tab=kernels]")
    told = json.loads((tmp_path / "p.json").read_text())["placement"]
    said = browser.js("document.querySelector('#placement').textContent")
    assert said.startswith(f"{told['cuda_nodes']} nodes run on the GPU:") and f" {told['copies']} values are copied" in said
    cells = browser.js("[...document.querySelectorAll('#copy-table tbody tr')].map(r => [...r.children].map(c => c.textContent))")
    copies = told["largest_copies"]
    assert copies and {(c[0], c[2], c[3]) for c in cells} == {(c["value"], str(c["bytes"]), c["cause"]) for c in copies}
    assert browser.errors() == []


def test_opt_has_a_page_without_kernels(browser, tmp_path):
    browser.open(page_of(ROOT / "graphs" / "radon.json", tmp_path, command=["opt"], output="o.json"))
    names = browser.js("[...document.querySelectorAll('.column .head b')].map(b => b.textContent)")
    assert names[0] == "read" and "fusion" not in names and browser.errors() == []


def test_fifty_thousand_nodes(browser, tmp_path):
    """Seconds printed are those of a machine at work; the bounds are what a person would still wait for."""
    (tmp_path / "chain.json").write_text(json.dumps(chain(50_000)))
    path = page_of(tmp_path / "chain.json", tmp_path)
    loaded = browser.open(path)
    assert browser.js("stages[0].count") == 50_001
    assert browser.js("document.querySelectorAll('.row').length") < 1000  # only what is in sight
    begin = time.monotonic()
    browser.js("document.querySelector('.list').scrollTop = 25000 * 18")
    while not browser.js("!!document.querySelector(\".column .row[data-node='25000']\")"):
        assert time.monotonic() - begin < 20
    scrolled = time.monotonic() - begin
    begin = time.monotonic()
    browser.click(".column .row[data-node='25010']")
    picked = browser.js("[...document.querySelectorAll('.column:not(.folded)')].map(c => c.querySelectorAll('.row.kin, .row.pick').length)")
    clicked = time.monotonic() - begin
    assert picked and all(n == 1 for n in picked)  # each column went there by itself
    begin = time.monotonic()
    browser.type("#search", "%40000")
    while "found" not in browser.js("document.getElementById('found').textContent"):
        assert time.monotonic() - begin < 20
    found = time.monotonic() - begin
    assert "read 1," in browser.js("document.getElementById('found').textContent")
    size = path.stat().st_size
    print(f"50,000 nodes: {size / 1e6:.1f} MB, load {loaded:.2f} s, scroll {scrolled:.2f} s, click {clicked:.2f} s, search {found:.2f} s")
    assert size < 20e6
    assert loaded < 20 and clicked < 5
    assert browser.errors() == []
