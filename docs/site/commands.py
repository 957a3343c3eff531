"""Prints docs/commands.md: every command with its options, as typer has it (`make docs`).

typer cuts what it lists of each command after 45 characters; here the list has the whole sentence,
and leads to the command.
"""

import re
import subprocess
import sys

SECTION = re.compile(r"^## `attnres-eval (?P<name>\S+)`\n\n(?P<sentence>.+)$", re.MULTILINE)


def commands_page() -> str:
    """The page, ending in one newline."""
    typer = [sys.executable, "-m", "typer", "attnres_eval.cli", "utils", "docs"]
    arguments = [*typer, "--name", "attnres-eval", "--title", "Commands"]
    page = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    for section in SECTION.finditer(page):
        name, sentence = section["name"], section["sentence"]
        line = f"* [`{name}`](#attnres-eval-{name}): {sentence}"
        page = re.sub(rf"^\* `{name}`: .*$", line.replace("\\", r"\\"), page, flags=re.MULTILINE)
    return page.strip() + "\n"


if __name__ == "__main__":
    print(commands_page(), end="")
