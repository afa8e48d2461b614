"""Listings of bulk runs: order, outputs, options of rows, inputs with equal outputs."""

from pathlib import Path

import pytest

from clearcut.batch.listing import list_items
from clearcut.batch.types import BatchPlan, BatchResources


def plan(source: Path, target: Path, suffix: str = "") -> BatchPlan:
    resources = BatchResources(1, 1, 0.0)
    return BatchPlan(str(source), str(target), "png", suffix, False, {}, {}, resources, "1")


def touch(folder: Path, *keys: str) -> Path:
    for key in keys:
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_folder_is_listed_in_a_fixed_order(tmp_path):
    source = touch(
        tmp_path / "in", "b/2.jpg", "b/1.JPEG", "a.png", "c/d/3.webp", "notes.txt", ".hidden/4.jpg", ".5.jpg"
    )
    items = list(list_items(plan(source, tmp_path / "out")))
    assert [item.key for item in items] == ["a.png", "b/1.JPEG", "b/2.jpg", "c/d/3.webp"]
    assert [item.target for item in items][1] == str(tmp_path / "out" / "b" / "1.png")
    assert items[3].source == str(source / "c" / "d" / "3.webp")


def test_second_input_of_an_output_has_an_error(tmp_path):
    source = touch(tmp_path / "in", "a.jpg", "a.png", "sub/a.jpg", "sub/deep/a.jpg", "sub/z.gif", "sub/z.webp")
    items = list(list_items(plan(source, tmp_path / "out")))
    assert [item.key for item in items if item.error] == ["a.png", "sub/z.webp"]
    assert all("the same output" in item.error for item in items if item.error)


def test_outputs_inside_the_source_are_no_inputs(tmp_path):
    source = touch(tmp_path / "in", "a.jpg", "out/old.png")
    assert [item.key for item in list_items(plan(source, source / "out"))] == ["a.jpg"]
    in_place = touch(tmp_path / "same", "a.jpg", "a-cut.png")
    assert [item.key for item in list_items(plan(in_place, in_place, "-cut"))] == ["a.jpg"]


LISTS = {
    "rows.csv": "source,target,format,crop\nphotos/a.jpg,,webp,\nhttps://cdn.test/p/b.jpg,,,true\n"
    "/x/c.jpg,other/c.png,,\n",
    "rows.jsonl": '{"source": "photos/a.jpg", "format": "webp"}\n\n'
    '{"source": "https://cdn.test/p/b.jpg", "crop": true}\n'
    '{"source": "/x/c.jpg", "target": "other/c.png", "crop": null}\n',
}


@pytest.mark.parametrize("name", LISTS)
def test_rows_have_sources_targets_and_options(tmp_path, name):
    table = tmp_path / name
    table.write_text(LISTS[name])
    items = list(list_items(plan(table, Path("/out"))))
    assert [item.source for item in items] == [
        str(tmp_path / "photos/a.jpg"), "https://cdn.test/p/b.jpg", "/x/c.jpg",
    ]  # fmt: skip
    assert [item.target for item in items] == ["/out/photos/a.webp", "/out/cdn.test/p/b.png", "/out/other/c.png"]
    assert [dict(item.options) for item in items] == [{"format": "webp"}, {"crop": "true"}, {}]
    assert not any(item.error for item in items)


def test_parquet_rows_equal_those_of_jsonl(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"source": ["a.jpg", "b.jpg"], "format": ["jpg", None], "crop": [None, True]})
    parquet.write_table(table, tmp_path / "rows.parquet")
    items = list(list_items(plan(tmp_path / "rows.parquet", Path("/out"))))
    assert [(item.target, dict(item.options)) for item in items] == [
        ("/out/a.jpg", {"format": "jpg"}), ("/out/b.png", {"crop": "true"}),
    ]  # fmt: skip


def test_rows_cannot_write_outside_the_output(tmp_path):
    table = tmp_path / "rows.csv"
    table.write_text("source,target\na.jpg,../a.png\nb.jpg,/etc/b.png\n,c.png\n../d.jpg,\n")
    items = list(list_items(plan(table, Path("/out"))))
    assert [bool(item.error) for item in items] == [True, True, True, True]
    assert all(not item.target.startswith("/etc") or item.error for item in items)


def test_malformed_jsonl_names_the_line(tmp_path):
    table = tmp_path / "rows.jsonl"
    table.write_text('{"source": "a.jpg"}\n[1]\n')
    with pytest.raises(ValueError, match="line 2"):
        list(list_items(plan(table, Path("/out"))))
