"""--cache-dir: a hit is what a compilation would have made, byte for byte; anything else is a miss or a bypass."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import AFFINE, chain
from gcomp_cli import GCOMP, gcomp, gcomp_ok
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

CODES = {"GC8001": "hit", "GC8002": "miss", "GC8003": "bypass"}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.delenv("GCOMP_CACHE_DIR", raising=False)
    return tmp_path / "cache"


def compiled(cache, graph, output, *options, program=GCOMP, **kwargs) -> str:
    """Compiles through the cache; "hit", "miss" or "bypass" as -v tells."""
    command = [program, graph, "-o", output, f"--cache-dir={cache}", "-v", "--diagnostics=json", *options]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **kwargs)
    assert done.returncode == 0, done.stderr
    (told,) = [json.loads(line) for line in done.stderr.splitlines()]
    assert told["file"] == str(output) and told["severity"] == "note"
    return CODES[told["code"]]


def plain(graph, output, *options) -> bytes:
    gcomp_ok(graph, "-o", output, *options)
    return output.read_bytes()


OPTIONS = [
    [],
    ["-O", "none"],
    ["-O", "o2"],
    ["--optimizer-excluding=fusion"],
    ["--optimizer-including=slow"],
    ["--optimizer-requiring=canonicalize"],
    ["--fast-math"],
    ["--name=other"],
    ["--dim", "N=5"],
    ["--dim", "N=6"],
    ["--mcpu=x86-64-v2"],
    ["--code=plan"],
    ["--cycle-detection=off"],
    ["--emit=obj"],
    ["--emit=asm"],
    ["--emit=llvm"],
    ["--emit=kernels"],
]


def test_every_option_has_its_own_entry_and_hits_are_the_same_bytes(affine, cache, tmp_path):
    outputs = {}
    for i, options in enumerate(OPTIONS):
        assert compiled(cache, affine, tmp_path / f"{i}.out", *options) == "miss", options
        outputs[i] = plain(affine, tmp_path / "plain.out", *options)
        assert (tmp_path / f"{i}.out").read_bytes() == outputs[i], options
    for i, options in enumerate(OPTIONS):
        (tmp_path / f"{i}.out").unlink()
        assert compiled(cache, affine, tmp_path / f"{i}.out", *options, "-j", "2") == "hit", options
        assert (tmp_path / f"{i}.out").read_bytes() == outputs[i], options
        mode = (tmp_path / f"{i}.out").stat().st_mode
        assert mode == (tmp_path / "plain.out").stat().st_mode if options and "emit" in options[0] else mode & 0o100
    assert {p.name for p in tmp_path.iterdir()} == {"cache", "affine.json", "plain.out"} | {f"{i}.out" for i in outputs}


def test_names_do_not_matter_and_contents_do(affine, cache, tmp_path):
    assert compiled(cache, affine, tmp_path / "a.so") == "miss"
    other = tmp_path / "elsewhere" / "of another name.json"
    other.parent.mkdir()
    shutil.copy(affine, other)
    assert compiled(cache, other, tmp_path / "elsewhere" / "b.so") == "hit"
    assert compiled(cache, affine.name, Path("c.so"), "-O", "o4", cwd=tmp_path) == "hit"  # the level's other name
    other.write_text(json.dumps(AFFINE) + " ")
    assert compiled(cache, other, tmp_path / "b.so") == "miss"
    assert compiled(cache, affine, tmp_path / "a.so") == "hit"


def test_another_build_of_gcomp_never_hits(affine, cache, tmp_path):
    assert compiled(cache, affine, tmp_path / "a.so") == "miss"
    notes = subprocess.run(["readelf", "-n", GCOMP], capture_output=True, text=True, check=True).stdout
    identity = bytes.fromhex(notes.split("Build ID: ")[1].split()[0])
    program = GCOMP.read_bytes()
    assert program.count(identity) == 1
    for other, result in ((identity, "hit"), (bytes([identity[0] ^ 1]) + identity[1:], "miss")):
        copy = tmp_path / "another-gcomp"
        copy.write_bytes(program.replace(identity, other))
        copy.chmod(0o755)
        assert compiled(cache, affine, tmp_path / "a.so", program=copy) == result


def json_with_weights(folder: Path, name: str) -> Path:
    graph = json.loads(json.dumps(AFFINE))
    graph["constants"][0] = {"id": 2, "dtype": "float32", "shape": [], "file": {"path": name, "tensor": "w"}}
    (folder / "model.json").write_text(json.dumps(graph))
    return folder / "model.json"


def onnx_with_weights(folder: Path, name: str) -> Path:
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 4]) for n in "xy")
    w = numpy_helper.from_array(np.ones(4, np.float32), "w")
    w.ClearField("raw_data")
    w.data_location = TensorProto.EXTERNAL
    w.external_data.add(key="location", value=name)
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], [w])
    (folder / "model.onnx").write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )
    return folder / "model.onnx"


def save_json_weights(path, value):
    save_file({"w": np.full((), value, np.float32)}, path)


def save_onnx_weights(path, value):
    path.write_bytes(np.full(4, value, np.float32).tobytes())


@pytest.mark.parametrize(
    ("make", "save"), [(json_with_weights, save_json_weights), (onnx_with_weights, save_onnx_weights)]
)
def test_weights_files_belong_to_the_key(cache, tmp_path, make, save):
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    graph = make(folder, "sub/w.bin")
    save(folder / "sub" / "w.bin", 1)
    depfile = f"--depfile={tmp_path / 'a.d'}"
    assert compiled(cache, graph, tmp_path / "a.so", depfile) == "miss"
    first, rule = (tmp_path / "a.so").read_bytes(), (tmp_path / "a.d").read_text()
    assert str(folder / "sub" / "w.bin") in rule and str(graph) in rule
    (tmp_path / "a.d").unlink()
    assert compiled(cache, graph, tmp_path / "a.so", depfile) == "hit"
    assert (tmp_path / "a.d").read_text() == rule
    save(folder / "sub" / "w.bin", 2)
    assert compiled(cache, graph, tmp_path / "a.so") == "miss"
    assert (tmp_path / "a.so").read_bytes() == plain(graph, tmp_path / "b.so") != first
    save(folder / "sub" / "w.bin", 1)
    assert compiled(cache, graph, tmp_path / "a.so") == "hit"
    assert (tmp_path / "a.so").read_bytes() == first
    # A link that begins to lead elsewhere, and one that leads out of the folder.
    save(folder / "other.bin", 3)
    (folder / "sub" / "w.bin").unlink()
    (folder / "sub" / "w.bin").symlink_to("../other.bin")
    assert compiled(cache, graph, tmp_path / "a.so") == "miss"
    assert (tmp_path / "a.so").read_bytes() == plain(graph, tmp_path / "b.so") != first
    save(tmp_path / "outside.bin", 1)
    (folder / "sub" / "w.bin").unlink()
    (folder / "sub" / "w.bin").symlink_to(tmp_path / "outside.bin")
    done = gcomp(graph, "-o", tmp_path / "a.so", f"--cache-dir={cache}")
    assert done.returncode == 1 and "leaves the graph's folder" in done.stderr


def test_a_graph_replaced_while_it_is_compiled_is_not_kept(cache, tmp_path):
    graph, other = tmp_path / "graph.json", tmp_path / "other.json"
    text = json.dumps(chain(30_000))
    graph.write_text(text)
    os.utime(graph, (time.time() - 100,) * 2)
    other.write_text(json.dumps(AFFINE))
    with subprocess.Popen([GCOMP, graph, "-o", tmp_path / "a.so", f"--cache-dir={cache}"]) as process:
        maps = Path(f"/proc/{process.pid}/maps")
        while str(graph) not in maps.read_text():
            assert process.poll() is None
            time.sleep(0.002)
        os.replace(other, graph)
        assert process.wait(60) == 0
    graph.write_text(text)
    assert compiled(cache, graph, tmp_path / "b.so") == "miss"
    other.write_text(json.dumps(AFFINE))
    assert compiled(cache, other, tmp_path / "b.so") == "miss"


BYPASSES = ["--explain=%0", "--html=page.html", "--memory-map=map.svg", "--rewrite-limit=1", "--verify-each",
            "--dump-after=all"]  # fmt: skip


def test_options_that_want_the_compilation_bypass(affine, cache, tmp_path):
    assert compiled(cache, affine, tmp_path / "a.so") == "miss"
    for option in BYPASSES:
        done = gcomp(affine, "-o", tmp_path / "b.so", f"--cache-dir={cache}", "-v", option, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert f"b.so: the cache is not asked, because of {option.split('=')[0]}\n" in done.stderr
    assert compiled(cache, affine, tmp_path / "c.json", "--emit=graph") == "bypass"
    assert (tmp_path / "page.html").exists() and (tmp_path / "map.svg").exists()


def test_artifacts_with_code_for_gpus(affine, cache, tmp_path):
    options = ["--target=cpu,cuda", "--cuda-everything", "--cuda-arch=sm_90"]
    assert compiled(cache, affine, tmp_path / "cpu.so") == "miss"
    assert compiled(cache, affine, tmp_path / "a.so", *options) == "miss"
    assert compiled(cache, affine, tmp_path / "b.so", *options) == "hit"
    assert (tmp_path / "a.so").read_bytes() == (tmp_path / "b.so").read_bytes()
    assert json.loads(gcomp_ok("inspect", tmp_path / "b.so", "--json"))["targets"] == ["cpu", "cuda"]
    assert compiled(cache, affine, tmp_path / "d.so", *options[:2], "--cuda-arch=sm_80") == "miss"
    assert compiled(cache, affine, tmp_path / "d.so", *options, "--allow-tf32") == "miss"
    assert compiled(cache, affine, tmp_path / "d.so", *options, "--cuda-line-info") == "miss"
    # The kernels are known under another name, too.
    report = tmp_path / "p.json"
    gcomp_ok(affine, "-o", tmp_path / "c.so", f"--cache-dir={cache}", f"--profile={report}", *options, "--name=other")
    told = json.loads(report.read_text())["cache"]
    assert told["result"] == "miss" and told["code_hits"] >= 2  # sm_90, and the text for later GPUs


def test_without_nvrtc_nothing_is_asked(affine, cache, tmp_path):
    none = {**os.environ, "GCOMP_NVRTC": "/nowhere/libnvrtc.so"}
    done = gcomp(affine, "-o", tmp_path / "a.so", f"--cache-dir={cache}", "-v", "--target=cpu,cuda", env=none)
    assert done.returncode == 0 and "because of --target: NVRTC is not found" in done.stderr


def test_headers_come_with_the_artifact_and_unchanged_outputs_keep_their_time(affine, cache, tmp_path):
    output, header, depfile = tmp_path / "a.so", tmp_path / "a.h", tmp_path / "a.d"
    options = [f"--header={header}", f"--depfile={depfile}", "--if-changed"]
    assert compiled(cache, affine, output) == "miss"
    assert compiled(cache, affine, output, *options) == "miss"  # an artifact without a header is not enough
    texts = header.read_text(), depfile.read_text(), output.read_bytes()
    assert texts[0] and str(header) in texts[1]
    os.utime(output, (1e9, 1e9))
    os.utime(header, (1e9, 1e9))
    assert compiled(cache, affine, output, *options) == "hit"
    assert (output.stat().st_mtime, header.stat().st_mtime) == (1e9, 1e9)
    for path in (output, header, depfile):
        path.unlink()
    assert compiled(cache, affine, output, *options) == "hit"
    assert (header.read_text(), depfile.read_text(), output.read_bytes()) == texts
    output.write_bytes(b"changed")
    assert compiled(cache, affine, output, *options) == "hit"
    assert output.read_bytes() == texts[2]
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".new")]


def test_profile_tells(affine, cache, tmp_path):
    report = tmp_path / "p.json"
    for result in ("miss", "hit"):
        gcomp_ok(affine, "-o", tmp_path / "a.so", f"--cache-dir={cache}", f"--profile={report}")
        profile = json.loads(report.read_text())
        assert profile["cache"]["result"] == result and len(profile["cache"]["key"]) == 64
        assert [p["name"] for p in profile["phases"]][:1] == ["cache"]
        assert (len(profile["phases"]) == 1) == (result == "hit")
    done = gcomp(affine, "-o", tmp_path / "a.so", f"--cache-dir={cache}", "--profile")
    assert "cache: hit\n" in done.stderr
    gcomp_ok(affine, "-o", tmp_path / "a.so", f"--profile={report}")
    assert "cache" not in json.loads(report.read_text())


UNARY = ["sin", "tanh", "exp", "erf", "abs", "neg"]


def many_kernels(changed: int | None = None) -> dict:
    """216 sums of different functions of x; that of number `changed` is another one than usual."""
    nodes, outputs, last = [], [], 0
    for i in range(216):
        ops = [UNARY[i // 36], UNARY[i // 6 % 6], UNARY[i % 6]]
        if i == changed:
            ops.append("sigmoid")
        source = 0
        for op in ops:
            last += 1
            nodes.append({"op": op, "in": [source], "out": [last]})
            source = last
        last += 1
        nodes.append({"op": "reduce_sum", "in": [source], "out": [last], "attrs": {"axes": [0]}})
        outputs.append({"name": f"y{i}", "id": last})
    inputs = [{"id": 0, "name": "x", "dtype": "float32", "shape": [1000]}]
    return {"version": 1, "symbols": [], "inputs": inputs, "constants": [], "nodes": nodes, "outputs": outputs}


def test_machine_code_that_a_change_leaves_alone_is_taken(cache, tmp_path):
    graph, report = tmp_path / "graph.json", tmp_path / "p.json"

    def compile_changed(changed, *options) -> dict:
        options = ["--code=plan", *options]
        graph.write_text(json.dumps(many_kernels(changed)))
        gcomp_ok(graph, "-o", tmp_path / "a.so", f"--cache-dir={cache}", f"--profile={report}", *options)
        assert (tmp_path / "a.so").read_bytes() == plain(graph, tmp_path / "b.so", *options)
        return json.loads(report.read_text())["cache"]

    first = compile_changed(None)
    assert first["code_hits"] == 0 and first["code_misses"] >= 3
    told = compile_changed(215)
    assert told["result"] == "miss" and told["code_hits"] >= 1 and told["code_misses"] >= 1
    assert compile_changed(100)["code_misses"] >= 1  # kernels may then be shared out to other modules
    assert compile_changed(None)["result"] == "hit"
    # What the code depends on beside its kernels.
    assert compile_changed(None, "--mcpu=x86-64-v2")["code_hits"] == 0
    assert compile_changed(None, "--emit=asm")["code_hits"] == 0
    # And what it does not.
    again = compile_changed(None, "--name=other")
    assert again["result"] == "miss" and again["code_misses"] == 0
    assert "code: " in gcomp_ok("cache", "stats", "--cache-dir", cache)


def test_the_environment_names_the_folder_and_run_uses_it(affine, cache, tmp_path):
    environment = dict(os.environ, GCOMP_CACHE_DIR=str(cache))
    np.savez(tmp_path / "in.npz", x=np.ones((2, 3), np.float32), w=np.ones((2, 3), np.float32))
    for _ in range(3):
        gcomp_ok("run", affine, "--inputs", tmp_path / "in.npz", "--outputs", tmp_path / "out.npz", env=environment)
    with np.load(tmp_path / "out.npz") as out:
        assert (out["y"] == 2).all()
    assert "  artifact: 1," in gcomp_ok("cache", "stats", env=environment)
    assert "2 hits, 1 misses" in gcomp_ok("cache", "stats", "--cache-dir", cache)


def test_damage_is_told_and_mended(affine, cache, tmp_path):
    assert compiled(cache, affine, tmp_path / "a.so") == "miss"
    good = (tmp_path / "a.so").read_bytes()
    (entry,) = cache.glob("v1/*/*.artifact")
    size = entry.stat().st_size
    for damage in (lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:100] + b"\1" + b[101:]):
        entry.write_bytes(damage(entry.read_bytes()))
        done = gcomp(affine, "-o", tmp_path / "a.so", f"--cache-dir={cache}")
        assert done.returncode == 0 and "gcomp: warning: " in done.stderr and str(entry) in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert (tmp_path / "a.so").read_bytes() == good
        assert entry.stat().st_size == size
        assert compiled(cache, affine, tmp_path / "a.so") == "hit"
    entry.write_bytes(b"nothing")
    done = gcomp("cache", "verify", "--cache-dir", cache)
    assert done.returncode == 3 and str(entry) in done.stderr and not entry.exists()
    assert gcomp_ok("cache", "verify", "--cache-dir", cache).endswith(" entries are whole\n")


def test_a_cache_that_cannot_be_written_is_one_warning(affine, cache, tmp_path):
    cache.write_text("a file where the folder should be")
    done = gcomp(affine, "-o", tmp_path / "a.so", f"--cache-dir={cache}")
    assert done.returncode == 0 and len(done.stderr.splitlines()) == 1
    assert "gcomp: warning: " in done.stderr and "cache cannot be written" in done.stderr
    assert (tmp_path / "a.so").read_bytes() == plain(affine, tmp_path / "b.so")


def test_a_read_only_cache_still_hits(affine, cache, tmp_path):
    """Root may write anywhere, so another user asks."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    assert compiled(cache, affine, tmp_path / "a.so") == "miss"
    for folder in (tmp_path, *tmp_path.parents):
        if os.stat(folder).st_uid == 0 and not os.stat(folder).st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, 65534, 65534)
    other = dict(user=65534, group=65534)
    if subprocess.run([GCOMP, "--version"], **other, check=False, capture_output=True).returncode != 0:
        pytest.skip("the build folder is closed to other users")
    assert compiled(cache, affine, theirs / "a.so", **other) == "hit"
    command = [GCOMP, affine, "-o", theirs / "b.so", "-O", "none", f"--cache-dir={cache}"]
    done = subprocess.run(command, capture_output=True, text=True, **other)
    assert done.returncode == 0 and len(done.stderr.splitlines()) == 1 and "cache cannot be written" in done.stderr
    assert (theirs / "b.so").read_bytes() == plain(affine, tmp_path / "b.so", "-O", "none")


def test_a_small_file_system_that_is_full(affine, cache, tmp_path):
    """The cache is full, then the output's disk is."""
    cache.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", cache], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        done = gcomp(affine, "-o", tmp_path / "a.so", f"--cache-dir={cache}")
        assert done.returncode == 0 and "No space left" in done.stderr and len(done.stderr.splitlines()) == 1
        assert (tmp_path / "a.so").read_bytes() == plain(affine, tmp_path / "b.so")
        assert not list(cache.glob("v1/*/*.artifact")) and not list(cache.glob("v1/*/.tmp-*"))
        other = tmp_path / "good cache"
        assert compiled(other, affine, tmp_path / "a.so") == "miss"
        done = gcomp(affine, "-o", cache / "a.so", f"--cache-dir={other}")
        assert done.returncode == 3 and str(cache / "a.so") in done.stderr
        assert [p.name for p in cache.iterdir() if p.is_file()] == ["CACHEDIR.TAG"]
    finally:
        subprocess.run(["umount", cache], check=True)


def test_sixteen_processes_at_once(cache, tmp_path):
    """Each compiles the same few graphs through one small cache; whoever comes first, the bytes are the same."""
    graphs, wanted = [], []
    for i in range(4):
        graph = json.loads(json.dumps(AFFINE))
        graph["constants"][0]["data"] = [float(i)]
        graphs.append(tmp_path / f"{i}.json")
        graphs[i].write_text(json.dumps(graph))
        wanted.append(plain(graphs[i], tmp_path / "plain.so"))
    script = 'for i in 0 1 2 3; do "$0" $i.json -o $1-$i.so --cache-dir="$2" --cache-size=150K || exit 1; done'
    processes = [
        subprocess.Popen(["sh", "-c", script, GCOMP, str(p), cache], cwd=tmp_path, stderr=subprocess.PIPE) for p in range(16)
    ]
    for process in processes:
        _, told = process.communicate(timeout=120)
        assert process.returncode == 0 and told == b""
    for p in range(16):
        for i in range(4):
            assert (tmp_path / f"{p}-{i}.so").read_bytes() == wanted[i]
    assert "64 misses" not in gcomp_ok("cache", "stats", "--cache-dir", cache)


def test_the_command(affine, cache, tmp_path):
    assert gcomp_ok("cache", "stats", "--cache-dir", cache).startswith("0 entries")
    compiled(cache, affine, tmp_path / "a.so")
    assert "artifact: 1" in gcomp_ok("cache", "stats", "--cache-dir", cache)
    entries = len(list(cache.glob("v1/??/*")))
    assert gcomp_ok("cache", "verify", "--cache-dir", cache) == f"{entries} entries are whole\n"
    assert gcomp_ok("cache", "clear", "--cache-dir", cache) == f"{entries} entries removed\n"
    assert compiled(cache, affine, tmp_path / "a.so") == "miss"
    for arguments, said in (
        (["cache", "stat", "--cache-dir", cache], "did you mean 'stats'?"),
        (["cache", "stats"], "--cache-dir"),
        ([affine, "-o", "a.so", "--cache-size=lots"], "--cache-size"),
        ([affine, "-o", "a.so", "--cache-age=7"], "--cache-age"),
    ):
        done = gcomp(*arguments, env={k: v for k, v in os.environ.items() if not k.startswith("GCOMP_CACHE")})
        assert done.returncode == 2 and said in done.stderr
