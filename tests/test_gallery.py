"""The gallery of the documentation is that of its experiments."""

import itertools
import re
import shlex
import tomllib
from pathlib import Path

import mkdocs_gallery as gallery
import mkdocs_tour
import pytest

import lazyrich as lr
from lazyrich._explore.jobs.tour import tour
from lazyrich.cli.settings import resolve
from lazyrich.sweeps import parse_axes

DOCS = Path(__file__).parent.parent / "docs"
ENTRIES = {entry["name"]: entry for entry in gallery.entries()}
CAPTIONS = tomllib.loads((gallery.FIGURES / "captions.toml").read_text(encoding="utf-8"))


def test_the_page_is_that_of_its_entries():
    page = (DOCS / "results" / "gallery.md").read_text(encoding="utf-8")
    assert page == gallery.page(CAPTIONS)
    assert list(CAPTIONS) == list(ENTRIES)
    shown = re.findall(r"\(\.\./figures/gallery/(\w+)\.png\)", page)
    assert shown == list(ENTRIES)
    assert {path.stem for path in gallery.FIGURES.glob("*.png")} == {*shown}


@pytest.mark.parametrize("name", ENTRIES)
def test_the_command_of_an_entry_is_its_experiment(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    entry = ENTRIES[name]
    if "toml" in entry:
        Path(f"{name}.toml").write_text(entry["toml"])
    _, command, place, *options = shlex.split(gallery.command_of(entry))
    settings = [value for option, value in itertools.pairwise(options) if option == "--set"]
    assert resolve(place, settings).content_hash == gallery.experiment_of(entry).content_hash
    over = [value for option, value in itertools.pairwise(options) if option == "--over"]
    assert command == ("sweep" if over else "run")
    assert len(parse_axes(over, [])) == len(entry.get("over", {}))


@pytest.mark.slow
def test_an_entry_is_run_and_drawn():
    entry = {
        "toml": 'name = "tiny"\nt1 = 10.0\n[task]\nkind = "SparseClassification"\nn = 8\nd = 20\n'
        "k = 1\nnum_test = 20\n[times]\nnum_log = 8\nnum_linear = 2\n"
    }
    figure = gallery.drawn(entry)
    assert figure.caption.startswith("tiny")
    with pytest.raises(lr.InputError, match="should be a TOML file, or the name of a panel"):
        gallery.drawn({"experiment": "nothing"})


def test_the_page_of_the_tour_is_that_of_its_stories():
    page = (DOCS / "results" / "tour.md").read_text(encoding="utf-8")
    rows = mkdocs_tour.kept()
    assert page == mkdocs_tour.page(rows)
    names = [mkdocs_tour.name_of(s, i) for s in tour().stories for i in range(len(s.steps))]
    assert {*rows} == {*names}
    assert re.findall(r"\(\.\./figures/tour/(\w+)\.png\)", page) == names
    assert {path.stem for path in mkdocs_tour.FIGURES.glob("*.png")} == {*names}
    assert all(row["holds"] for step in rows.values() for row in step)
