"""The report is one page that needs nothing else, and a browser draws its charts."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
import zlib
from collections import Counter
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

import pytest

from service.insights.answers import answer
from service.insights.report import write

WIDTH, HEIGHT = 1000, 5000
SCALE = 0.5  # a quarter of the pixels to look at
MARK, REST, RISE, FALL = (
    (0x2F, 0x6F, 0xB3),
    (0xCF, 0xDC, 0xEB),
    (0x2D, 0x8A, 0x5F),
    (0xC2, 0x48, 0x4A),
)
"""Colours of the light scheme in service/insights/report.html."""

Pixel = tuple[int, int, int]


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser; without it the test is skipped, but never in CI."""
    found = shutil.which("chromium")
    if found is None:
        msg = "no chromium here: `apt-get install chromium`"
        if os.environ.get("CI"):
            pytest.fail(msg)
        pytest.skip(msg)
    return found


@pytest.fixture
def report(sample: Path, tmp_path: Path) -> Path:
    """The report on the sample and a day more, on which some brands rose and some fell."""
    folder = tmp_path / "archive"
    folder.mkdir()
    lines = sample.read_text().splitlines()
    sold = [line for line in lines if ",purchase," in line]
    next_day = [line.replace("2019-10-01", "2019-10-02") for line in 2 * sold[::3]]
    (folder / "a.csv").write_text("\n".join(lines + next_day) + "\n")
    write(answer(folder, "<archive>"), tmp_path / "report.html", datetime.now(UTC))
    return tmp_path / "report.html"


def test_the_page_asks_nobody_for_anything(report: Path):
    page = report.read_text()

    assert not re.search(r"<script|<link|<img|<iframe|@import|url\(|\bsrc=|\bhref=", page)
    assert "http" not in page.replace("http-equiv", "")
    assert "default-src 'none'" in page
    assert "&lt;archive&gt;" in page
    assert "<archive>" not in page


def test_a_browser_draws_the_charts(report: Path, chromium: str, tmp_path: Path):
    picture = tmp_path / "report.png"
    browse(
        *(chromium, f"--window-size={WIDTH},{HEIGHT}", f"--force-device-scale-factor={SCALE}"),
        *(f"--screenshot={picture}", report.as_uri()),
        home=tmp_path,
    )

    rows = pixels_of(picture.read_bytes())

    assert (len(rows[0]), len(rows)) == (WIDTH * SCALE, HEIGHT * SCALE)
    found = Counter(pixel for row in rows for pixel in row)
    # Bars are areas: thousands of pixels of one colour, in rows without a gap.
    assert found[MARK] > 5_000
    assert found[REST] > 500
    assert longest_run(rows, MARK) > WIDTH * SCALE / 3
    # Movers to both sides.
    assert found[RISE] > 250
    assert found[FALL] > 250


@pytest.mark.parametrize("width", [1200, 800, 375, 320])
def test_no_text_is_cut_off_or_covered_or_too_small(
    report: Path, chromium: str, tmp_path: Path, width: int
):
    """A browser measures each text of each chart where it shows it, in a frame of some width."""
    asked = tmp_path / "asked.html"
    inside = report.read_text().split("</head>")
    style = re.search(r"<style>.*</style>", inside[0], re.DOTALL)
    assert style
    within = tmp_path / "within.html"
    within.write_text(style[0] + inside[1] + MEASURE)
    asked.write_text(f"<iframe src={within.as_uri()} width={width} height=3000></iframe>{LISTEN}")

    dom = browse(
        *(chromium, "--virtual-time-budget=10000", "--window-size=1400,3000"),
        *("--dump-dom", asked.as_uri()),
        home=tmp_path,
    )

    told = re.search(r"<pre>(.*?)</pre>", dom, re.DOTALL)
    assert told, dom[-500:]
    found = json.loads(unescape(told[1]))
    assert found["texts"] > 100
    assert found["faults"] == []
    assert found["smallest"] >= 9
    assert found["page"] <= width


def test_every_answer_has_a_chart_or_says_why_not(report: Path):
    sections = re.findall(r"<section.*?</section>", report.read_text(), re.DOTALL)

    assert len(sections) == 9
    for section in sections:
        drawn = len(re.findall(r"<(rect|polyline) class=.(?:mark|line|rise|fall)", section))
        assert drawn > 0, section[:200]


def test_brands_that_arent_bought_are_drawn_by_what_orders_them(report: Path):
    section = re.search(
        r'<section id="ecommerce-brands_to_promote".*?</section>', report.read_text(), re.DOTALL
    )
    assert section
    wide = section[0].split("<svg")[1]

    told = re.findall(r"<text[^>]*>(\d+) of (\d+) \(", wide)

    shares = [int(purchases) / int(views) for purchases, views in told]
    assert len(shares) == 10
    assert shares == sorted(shares)


MEASURE = """
<script>
const faults = []; let texts = 0, smallest = 99;
for (const svg of document.querySelectorAll('svg')) {
  const frame = svg.getBoundingClientRect();
  if (!frame.width) continue;
  const scale = frame.width / svg.viewBox.baseVal.width, boxes = [];
  for (const text of svg.querySelectorAll('text')) {
    const box = text.getBoundingClientRect();
    texts += 1;
    smallest = Math.min(smallest, scale * parseFloat(getComputedStyle(text).fontSize));
    if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1)
      faults.push('cut off: ' + text.textContent);
    for (const [name, other] of boxes)
      if (Math.min(box.right, other.right) - Math.max(box.left, other.left) > 1
          && Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top) > 4 * scale)
        faults.push(name + ' covers ' + text.textContent);
    boxes.push([text.textContent, box]);
  }
}
parent.postMessage({faults, texts, smallest, page: document.documentElement.scrollWidth}, '*');
</script>
"""
"""Looks at every chart that is shown, and says what is wrong with its texts."""

LISTEN = """
<pre></pre>
<script>
addEventListener('message', (told) => {
  document.querySelector('pre').textContent = JSON.stringify(told.data);
});
</script>
"""


def browse(chromium: str, *options: str, home: Path) -> str:
    """Run the browser, with nothing of the desktop that a person may be using."""
    done = subprocess.run(
        [
            *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
            "--disable-dev-shm-usage",  # which may be small in a container
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *("--no-first-run", "--hide-scrollbars", f"--user-data-dir={home / 'profile'}"),
            *options,
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "HOME": str(home), "DBUS_SESSION_BUS_ADDRESS": "disabled:"},
    )
    return done.stdout


# ---- pictures -----------------------------------------------------------------------------------


def pixels_of(png: bytes) -> list[list[Pixel]]:
    """Decode a PNG as browsers write them: 8 bits a channel, not interlaced."""
    at, packed, width, channels = 8, b"", 0, 0
    while at < len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        body = png[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, _, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", body)
            assert (depth, interlaced) == (8, 0)
            channels = {2: 3, 6: 4}[colour]
        elif kind == b"IDAT":
            packed += body
        at += length + 12
    raw = zlib.decompress(packed)
    stride = width * channels
    before = bytearray(stride)
    rows = []
    for start in range(0, len(raw), stride + 1):
        before = _unfiltered(raw[start], raw[start + 1 : start + 1 + stride], before, channels)
        rows.append([(before[x], before[x + 1], before[x + 2]) for x in range(0, stride, channels)])
    return rows


def _unfiltered(how: int, line: bytes, above: bytearray, channels: int) -> bytearray:
    """Undo a filter of the PNG specification, section 9."""
    row = bytearray(line)
    for x in range(len(row) if how else 0):
        left = row[x - channels] if x >= channels else 0
        up = above[x]
        corner = above[x - channels] if x >= channels else 0
        if how == 1:
            guess = left
        elif how == 2:
            guess = up
        elif how == 3:
            guess = (left + up) // 2
        else:
            far = left + up - corner
            guess = min((left, up, corner), key=lambda one: abs(far - one))
        row[x] = (row[x] + guess) & 0xFF
    return row


def longest_run(rows: list[list[Pixel]], colour: Pixel) -> int:
    """Return the most pixels of a colour in a row, side by side."""
    longest = 0
    for row in rows:
        run = 0
        for pixel in row:
            run = run + 1 if pixel == colour else 0
            longest = max(longest, run)
    return longest
