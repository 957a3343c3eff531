"""API pages from the docstrings: one a package, with every public module in it.

mkdocs calls the functions named `on_`. A link in docs/ to a module's file, which a reader of the
repository can follow, leads to the module's entry on the site; so does a name in code type.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "attnres_eval"
NAME = re.compile(r"<code>(attnres_eval(?:\.\w+)+)</code>")
SOURCE_LINK = re.compile(r"\]\(\.\./(attnres_eval/[\w/]+)\.py\)")


def dotted(path: Path) -> str:
    """A module's name from its file."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def api_pages() -> dict[str, list[str]]:
    """The public modules of each package, itself first, by the package's name."""
    pages: dict[str, list[str]] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        if file.stem == "__init__" or not file.stem.startswith("_"):
            pages.setdefault(dotted(file.parent), []).append(dotted(file))
    return pages


def page_of(package: str) -> str:
    """Where a package's page lies in docs/."""
    return f"api/{package}.md"


def page_text(package: str, modules: list[str]) -> str:
    """A package's page: what mkdocstrings replaces by each module's docstrings."""
    title = f"::: {package}\n    options:\n      heading_level: 1\n"
    return title + "".join(f"\n::: {module}\n" for module in modules if module != package)


def with_api_links(markdown: str) -> str:
    """Text whose links to modules' files lead to their entries on the API pages."""

    def entry(link: re.Match[str]) -> str:
        file = PACKAGE.parent / f"{link[1]}.py"
        if not file.is_file():
            return link[0]
        return f"]({page_of(dotted(file.parent))}#{dotted(file)})"

    return SOURCE_LINK.sub(entry, markdown)


def on_config(config: Any) -> Any:
    """Puts the pages into the navigation."""
    names = {package: package.partition(".")[2] or package for package in api_pages()}
    config.nav.append({"API": [{name: page_of(package)} for package, name in names.items()]})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages."""
    for package, modules in api_pages().items():
        text = page_text(package, modules)
        files.append(File.generated(config, page_of(package), content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Turns links to modules' files into links to their entries."""
    return with_api_links(markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Links full names of modules, functions and classes to their entries, where they have one."""
    return NAME.sub(r'<autoref optional identifier="\1"><code>\1</code></autoref>', html)
