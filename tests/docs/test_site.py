"""The site's pages: all modules, all commands, all links, all formulas."""

import ast
import importlib.util
import inspect
import re
from pathlib import Path
from types import ModuleType

import markdown
import pytest
import yaml

import attnres_eval
from attnres_eval.cli import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
PACKAGE = Path(attnres_eval.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
MARKDOWN_MAKES = {
    *("a", "blockquote", "br", "code", "em", "h1", "h2", "h3", "li", "ol", "p", "pre", "strong"),
    *("table", "tbody", "td", "th", "thead", "tr", "ul"),
}
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"site_{name}", DOCS / "site" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


api, commands, formulas = load("api"), load("commands"), load("formulas")


def test_every_public_module_has_an_entry() -> None:
    names = {
        ".".join((PACKAGE.name, *file.relative_to(PACKAGE).with_suffix("").parts))
        for file in MODULES
        if not file.stem.startswith("_")
    }
    pages = api.api_pages()
    entries = "".join(api.page_text(name, modules) for name, modules in pages.items())
    assert len(names) > 200
    assert names == {name for name in names if f"\n::: {name}\n" in entries}
    assert set(pages) == set(re.findall(r"^::: (\S+)\n    options:", entries, re.MULTILINE))


def test_a_full_name_leads_to_its_entry() -> None:
    page = api.on_page_content("<code>attnres_eval.cost</code> <code>attnres_eval</code>")
    link = (
        '<autoref optional identifier="attnres_eval.cost"><code>attnres_eval.cost</code></autoref>'
    )
    assert page == f"{link} <code>attnres_eval</code>"


def test_a_link_to_a_module_leads_to_its_entry() -> None:
    text = (
        "[fit](../attnres_eval/analysis/fit.py), [log](../LOG.md), [x](../attnres_eval/absent.py)"
    )
    assert api.with_api_links(text) == (
        "[fit](api/attnres_eval.analysis.md#attnres_eval.analysis.fit), [log](../LOG.md),"
        " [x](../attnres_eval/absent.py)"
    )


def swallowed(docstring: str) -> list[str]:
    """What a browser would take for tags of HTML and not show."""
    page = markdown.markdown(inspect.cleandoc(docstring), extensions=["fenced_code", "tables"])
    return [tag for tag in re.findall(r"<(\w+)", page) if tag not in MARKDOWN_MAKES]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_docstrings_are_shown_whole(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    documented = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    assert [tag for node in documented for tag in swallowed(ast.get_docstring(node) or "")] == []


def test_the_test_of_docstrings_can_fail() -> None:
    assert swallowed("The file runs/<run>/cost.json, with `<code>`.") == ["run"]


def broken(page: Path) -> list[str]:
    """Relative links of a page that lead to no file."""
    links = [match[1] for match in LINK.finditer(page.read_text(encoding="utf-8"))]
    return [link for link in links if "://" not in link and not (page.parent / link).is_file()]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_links_lead_to_files(page: Path) -> None:
    assert broken(page) == []


def test_the_test_of_links_can_fail(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("[here](page.md), [there](absent.md#part), [away](https://example.org)")
    assert broken(page) == ["absent.md"]


def test_every_page_is_in_the_navigation() -> None:
    class Loader(yaml.SafeLoader):
        """Reads past tags of the site builder's own."""

    Loader.add_multi_constructor("", lambda loader, tag, node: None)
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    nav = yaml.safe_dump(yaml.load(config, Loader)["nav"])
    assert [page.name for page in PAGES if not re.search(rf"\b{page.name}\b", nav)] == []


def test_commands_are_up_to_date() -> None:
    page = (DOCS / "commands.md").read_text(encoding="utf-8")
    assert page == commands.commands_page(), "docs/commands.md is not up to date: run `make docs`"
    listed = re.findall(r"^\* \[`(\S+)`\]\(#attnres-eval-\1\): [A-Z].*\.$", page, re.MULTILINE)
    assert listed == re.findall(r"^## `attnres-eval (\S+)`$", page, re.MULTILINE)
    assert len(listed) == len(app.registered_commands)


def test_a_formula_becomes_mathml() -> None:
    page = '<p><span class="arithmatex">\\(a &lt; b\\)</span></p>'
    assert formulas.with_mathml(page).startswith('<p><math xmlns="http://www.w3.org/1998/Math/')
    assert "<mo>&#x0003C;</mo>" in formulas.with_mathml(page)
    block = formulas.with_mathml('<div class="arithmatex">\\[\nx^2\n\\]</div>')
    assert block.startswith('<div class="formula"><math')
    assert 'display="block"' in block
    assert "<msup><mi>x</mi><mn>2</mn></msup>" in block
    set_well = formulas.mathml(r"\ln x \pm .05", display=False)
    assert '<mi>ln</mi><mspace width="0.17em"/><mi>x</mi><mo>&#x000B1;</mo><mn>.05</mn>' in set_well


@pytest.mark.parametrize("tex", [r"\frac{a}", r"\nosuchthing x", r"a &= b", r"x}", r"\left( x"])
def test_a_formula_that_cannot_be_set_is_refused(tex: str) -> None:
    with pytest.raises(ValueError, match="formula"):
        formulas.mathml(tex, display=False)
