"""The documentation: code runs, links lead somewhere, generated parts are those of the code."""

import contextlib
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import markdown
import mkdocs_api
import mkdocs_formulas
import mkdocs_glossary
import mkdocs_notebooks
import mkdocs_reference
import pytest
import typer
from mkdocs_sentences import sentences
from mkdocs_tables import filled

import lazyrich as lr
from lazyrich.cli import app

from .pages import DOCS, ROOT, Block, Printer, blocks, check, check_lines, entries, pages

PAGES = pages()

# Pages whose code takes less than two seconds.
QUICK = {
    "explanation/claims.md",
    "explanation/reduction.md",
    "how-to/logs.md",
    "how-to/my-run-says.md",
    "reference/studies.md",
}
# Pages whose code takes half a minute of compilation; `make pages` runs them.
LONG = {
    "explanation/lazy-and-rich.md",
    "how-to/choose-settings.md",
    "how-to/compare-optimisers.md",
    "how-to/own-study.md",
    "how-to/resume.md",
    "tutorials/first-forecast.md",
    "tutorials/phase-diagram.md",
}

# How many blocks of a page are not run, each with the reason in a comment before it.
NOT_RUN = {
    "README.md": 2,
    "explanation/precision.md": 1,
    "explanation/predictors.md": 1,
    "how-to/compare-optimisers.md": 1,
    "how-to/explore.md": 2,
    "how-to/logs.md": 1,
    "how-to/maps.md": 1,
    "how-to/own-claims.md": 1,
    "how-to/own-data.md": 3,
    "how-to/own-figures.md": 1,
    "how-to/own-study.md": 1,
    "how-to/slurm.md": 1,
    "how-to/trackers.md": 1,
    "project/architecture.md": 2,
    "project/releases.md": 2,
    "reference/security.md": 2,
    "reference/studies.md": 1,
    "results/gallery.md": 8,
    "results/kumar2024.md": 3,
    "results/lyu2024.md": 1,
    "results/words.md": 1,
    "tutorials/first-run.md": 1,
    "tutorials/own-network.md": 2,
    "tutorials/teach.md": 1,
}

# Programs that console blocks show and that are not ours.
OTHERS = {
    "make", "pip", ".venv/bin/pip", "python3", "python", "dask", "export", "ssh", "ls", "for",
    "openssl", "tensorboard", "pytest", "uv", ".venv/mutations/bin/python",
}  # fmt: skip


def pages_with_code():
    for name, text in PAGES.items():
        if any(not block.why and block.kind != "text" for block in blocks(text)):
            slow = [] if name in QUICK else [pytest.mark.slow]
            yield pytest.param(name, id=name, marks=[pytest.mark.battery] if name in LONG else slow)


@pytest.mark.parametrize("name", [*pages_with_code()])
def test_code_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "import torch" in PAGES[name]:
        import torch

        torch.set_num_threads(1)
    printer, last, output = Printer(name), "", ""
    for block in blocks(PAGES[name]):
        if block.why:
            continue
        if block.kind == "python":
            printer.run(block)
        elif block.kind == "console":
            output = run_commands(block)
            check_lines(name, block.shown(), output, block.within)
        elif last == "python":
            printer.compare(block)
        elif last == "console":
            check_lines(name, block.text.splitlines(), output, block.within)
        last = block.kind


def run_commands(block: Block) -> str:
    """What the commands of lazyrich in a console block print."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        for program, *words in block.commands():
            if program == "lazyrich":
                app(words, standalone_mode=False)
    return output.getvalue()


def test_numbers_that_are_said_are_compared_with_those_printed():
    check("here", "grokked, 0.00092, 3067", "grokked 0.000923 3067.2", 0.02)
    check("here", "t50 is 1,200", "step 1 to 1203", 0.02)
    for said, printed in [("3067", "3200"), ("1, 2", "2 1"), ("0.58, 1.0", "[0.58 0.9]")]:
        with pytest.raises(AssertionError, match="is not in"):
            check("here", said, printed, 0.02)


def test_lines_that_are_shown_are_compared_with_those_printed():
    printed = "outcome   grokked: fitted at step 900\nnext      wait\nt_test    step 14,007\n"
    check_lines(
        "here", ["outcome grokked: fitted at step 901", "...", "t_test step 14,010"], printed, 0.02
    )
    for said in (["t_test step 15,000"], ["next stop"], ["t_test step 14,007", "next wait"]):
        with pytest.raises(AssertionError, match="is not in"):
            check_lines("here", said, printed, 0.02)


def test_blocks_that_are_not_run_are_listed_here():
    counts = {name: sum(bool(block.why) for block in blocks(text)) for name, text in PAGES.items()}
    assert {name: count for name, count in counts.items() if count} == NOT_RUN


def test_command_lines_are_accepted_by_the_parser():
    group = typer.main.get_command(app)
    seen = 0
    for name, text in PAGES.items():
        for block in blocks(text):
            for program, *words in block.commands() if block.kind == "console" else ():
                if program != "lazyrich":
                    assert program in OTHERS, (name, program)
                elif "..." not in words:
                    seen += 1
                    command = group.commands[words[0]]  # type: ignore[attr-defined]
                    command.make_context(words[0], words[1:])
    assert seen > 40


def test_scripts_and_goals_that_pages_name_exist():
    goals = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name, text in PAGES.items():
        for script in re.findall(r"(?:python )?\b(benchmarks/\w+\.(?:py|json))", text):
            assert (ROOT / script).exists(), (name, script)
        for goal in re.findall(r"(?:`|^\$ )make ([\w-]+)", text, re.MULTILINE):
            assert goal in goals, (name, goal)


def test_results_name_the_commands_that_print_them():
    command = re.compile(r"(`|^\$ )(python benchmarks/|make |lazyrich |pytest )", re.MULTILINE)
    for name, text in PAGES.items():
        assert not name.startswith("results/") or command.search(text), name


# Links.

_FENCE = re.compile(r"^( *)```.*?^\1```$", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_NAME = re.compile(r"\]\[(lazyrich\.[\w.]+)\]")


def prose(text: str) -> str:
    return _FENCE.sub("", text)


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#{1,6} .*$", prose(text), re.MULTILINE)
    math = {"pymdownx.arithmatex": {"generic": True}}
    extensions = ["toc", "attr_list", "pymdownx.arithmatex"]
    found = markdown.markdown("\n\n".join(headings), extensions=extensions, extension_configs=math)
    return set(re.findall(r'<h\d id="([^"]+)"', found))


ANCHORS = {name: anchors(text) for name, text in PAGES.items()}


def test_links_between_pages_lead_somewhere():
    seen = 0
    for name, text in PAGES.items():
        here = ROOT if name == "README.md" else (DOCS / name).parent
        for link in _LINK.findall(prose(text)):
            if re.match(r"https?:|mailto:", link):
                continue
            seen += 1
            place, _, anchor = unquote(link).partition("#")
            target = (here / place).resolve() if place else (here / Path(name).name).resolve()
            assert target.exists(), (name, link)
            if anchor:
                page = "README.md" if target.parent == ROOT else str(target.relative_to(DOCS))
                assert anchor in ANCHORS[page], (name, link)
    assert seen > 300


def test_names_of_the_api_that_texts_link_to_have_an_entry():
    names = entries()
    texts = dict(PAGES)
    for path in (ROOT / "src" / "lazyrich").rglob("*.py"):
        texts[path.name] = path.read_text(encoding="utf-8")
    seen = 0
    for where, text in texts.items():
        for name in _NAME.findall(text):
            seen += 1
            assert name in names or name.rpartition(".")[0] in names, (where, name)
            value = lr
            for part in name.split(".")[1:]:
                fields = getattr(value, "model_fields", {}) or getattr(
                    value, "__dataclass_fields__", {}
                )
                if part in fields:
                    break
                value = getattr(value, part)
    assert seen > 300


# Generated parts.


def test_generated_pages_are_those_of_the_code():
    for name, text in PAGES.items():
        assert filled(text) == text, f"{name}: run python mkdocs_tables.py"
    for name, text in mkdocs_api.pages().items():
        assert PAGES.get(f"reference/api/{name}") == text, f"{name}: run python mkdocs_tables.py"
    assert {Path(name).name for name in PAGES if name.startswith("reference/api/")} == {
        *mkdocs_api.pages()
    }
    for path, text in mkdocs_reference.pages().items():
        assert path.read_text() == text, f"{path.name}: run python mkdocs_tables.py"


def plain(text):
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("page", sorted({page for page, _ in sentences()}))
def test_sentences_have_the_numbers_that_benchmarks_kept(page):
    text = plain(PAGES[page])
    for where, sentence in sentences():
        assert where != page or plain(sentence) in text, f"{page} does not say: {sentence}"


def test_the_readme_counts_words_as_the_program_has_them():
    numbers = {5: "five", 10: "ten", 13: "thirteen"}
    counts = {title: len(words) for title, words in mkdocs_reference.sections().items()}
    said = ", ".join(f"{numbers[count]} {title}s" for title, count in counts.items())
    assert said in plain(PAGES["README.md"])


def test_what_to_do_next_has_a_section_for_every_word():
    text = PAGES["how-to/my-run-says.md"]
    parts = re.split(r"^## ", text, flags=re.MULTILINE)
    for title, words in mkdocs_reference.sections().items():
        (part,) = [part for part in parts if part.lower().startswith(title)]
        assert re.findall(r"^### (\w+)$", part, re.MULTILINE) == [*words]


def test_terms_of_the_glossary_are_marked_and_in_order():
    terms = [*mkdocs_glossary.terms()]
    assert len(terms) > 40
    assert terms == sorted(terms, key=lambda term: re.sub(r"[$\\]", "", term).lower())
    marked = re.findall(r"^\*\[(.+)\]: .", mkdocs_glossary.abbreviations(), re.MULTILINE)
    assert {"tangent kernel", "lazy regime", "null control"} < set(marked) <= set(terms)


def test_every_page_links_to_the_glossary():
    for name in PAGES:
        place = SimpleNamespace(file=SimpleNamespace(src_uri=name))
        text = mkdocs_glossary.on_page_markdown("Text.", page=place)
        link = re.search(r"\]\(([^)]*glossary\.md)\)", text)
        assert name in ("README.md", "reference/glossary.md") or link, name
        if link and name != "README.md":
            assert ((DOCS / name).parent / link[1]).resolve() == DOCS / "reference" / "glossary.md"


def test_every_page_is_in_the_table_of_contents():
    nav = (ROOT / "mkdocs.yml").read_text()
    for name in PAGES:
        assert name == "README.md" or f": {name}\n" in nav or f"- {name}\n" in nav, name


def test_the_readme_is_short_and_begins_with_what_it_does():
    text = PAGES["README.md"]
    assert len(text.splitlines()) <= 120
    before, _, _ = text.partition("```")
    assert len(before.split()) > 100


def test_notebooks_are_those_of_the_tutorials():
    notebooks = mkdocs_notebooks.notebooks()
    kept = {path.name: path.read_text() for path in mkdocs_notebooks.FOLDER.glob("*.ipynb")}
    assert kept == notebooks, "run python mkdocs_tables.py"
    cells = json.loads(notebooks["first-run.ipynb"])["cells"]
    blocks_of = [
        b.text.strip() for b in blocks(PAGES["tutorials/first-run.md"]) if b.kind == "python"
    ]
    assert ["".join(c["source"]) for c in cells if c["cell_type"] == "code"] == blocks_of
    assert not any(cell.get("outputs") for cell in cells)


@pytest.mark.battery
@pytest.mark.parametrize("name", [*mkdocs_notebooks.notebooks()])
def test_notebooks_run(name, tmp_path):
    import nbclient
    import nbformat

    text = mkdocs_notebooks.notebooks()[name]
    book = nbformat.reads(text, as_version=4)
    nbclient.NotebookClient(
        book, timeout=600, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    assert all(cell["execution_count"] for cell in book.cells if cell.cell_type == "code")


class Title:
    """An entry of a table of contents."""

    def __init__(self, title, *children):
        self.title, self.children = title, children


class PageOf:
    """A page with a table of contents."""

    def __init__(self, *toc):
        self.toc = toc


def test_formulas_are_mathml_in_pages_and_in_their_titles():
    inner = Title(r"Until \(t_{50}\)")
    outer = Title(r"Is \((1/\lambda) \log \alpha\) tight?", inner)
    text = r'<p><span class="arithmatex">\(\lambda \log \alpha\)</span></p>'
    found = mkdocs_formulas.on_page_content(text, page=PageOf(outer))
    space = '<mspace width="0.17em" />'
    assert f"<mi>&#x003BB;</mi>{space}<mi>log</mi>{space}<mi>&#x003B1;</mi>" in found
    for title in (outer.title, inner.title):
        assert "<math" in title
        assert "\\" not in title
