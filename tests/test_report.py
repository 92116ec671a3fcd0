"""The HTML report: self-contained, escaped, readable by machines."""

import base64
import io
import re

import numpy as np
from PIL import Image

from medcli.report import Report, number_text


def embedded(page):
    """(kind, decoded picture) of every image in the page."""
    found = re.findall(r'src="data:image/(\w+);base64,([^"]+)"', page)
    return [(kind, Image.open(io.BytesIO(base64.b64decode(content)))) for kind, content in found]


def test_text_is_escaped_everywhere():
    bad = '<script>alert("x")</script>'
    report = Report(bad, bad).heading(bad).paragraph(bad).warnings([bad]).cards([(bad, bad, bad)])
    page = report.table([{bad: bad}], bad).pictures([(np.zeros((2, 3, 3), np.uint8), bad)], bad).html()
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;") >= 10
    assert 'alt="&lt;script&gt;alert(&quot;x&quot;)' in page


def test_nothing_is_loaded_from_elsewhere():
    page = Report("title").heading("a").html()
    assert not re.search(r"(?:src|href)=[\"'](?!data:|#)", page)
    assert "@import" not in page and "url(" not in page


def test_a_table_has_the_columns_of_all_rows_and_numbers_stand_right():
    rows = [{"case": "a", "dice": 0.91234}, {"case": "b", "note": "x", "dice": None}]
    page = Report("t").table(rows, "Cases").html()
    heads = re.findall(r"<th scope=\"col\"( class=\"number\")?>(\w+)</th>", page)
    assert heads == [("", "case"), (' class="number"', "dice"), ("", "note")]
    assert "<caption><span>Cases</span></caption>" in page
    assert '<td class="number">0.912</td>' in page and '<td class="number">–</td>' in page


def test_numbers_for_people():
    shown = [
        number_text(value) for value in (0.12345, 12, 1234.5678, float("nan"), None, True, np.float32(0.5))
    ]
    assert shown == ["0.123", "12", "1,234.6", "–", "–", "yes", "0.500"]


def test_small_pictures_are_kept_to_the_pixel():
    picture = np.random.default_rng(0).integers(0, 255, (20, 31, 3), dtype=np.uint8)
    ((kind, found),) = embedded(Report("t").pictures([(picture, "noise")]).html())
    assert kind == "png"
    np.testing.assert_array_equal(np.asarray(found), picture)


def test_large_pictures_are_made_smaller():
    ((kind, found),) = embedded(Report("t").pictures([(np.zeros((600, 1800, 3), np.uint8), "")]).html())
    assert (kind, found.size) == ("webp", (900, 300))


def test_figures_in_a_row_stand_together():
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1, 1))
    report = Report("t").figure(figure, "one", "first").figure(figure, "two").paragraph("between")
    page = report.figure(figure, "three").html()
    assert page.count('<div class="figures">') == 2
    assert 'alt="first"' in page and 'alt="two"' in page
    assert len(embedded(page)) == 3


def test_no_warnings_no_box():
    assert 'class="warnings"' not in Report("t").warnings([]).html()


def test_contents_link_to_the_headings():
    page = Report("t").heading("First").heading("Second").html()
    assert '<a href="#section-2">Second</a>' in page and '<h2 id="section-2">Second</h2>' in page


def test_it_is_written_whole(tmp_path):
    Report("t").write(tmp_path / "new" / "report.html")
    page = (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>")
    assert "prefers-color-scheme: dark" in page
