"""What MkDocs does for the documentation's site beyond its ordinary work (`hooks` in mkdocs.yml).

Pages of the reference are made from the types as the site is built, and `<!-- parameters KIND NAME -->` in a page
becomes the table of that plug-in. Formulas, written as GitHub shows them (a fence of `math`, or $`x`$ in a line),
become MathML, which browsers draw by themselves: the site has no script and no font from elsewhere.
"""

import re
from collections.abc import Callable

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from orchestrator.reference import command_line, plugins, scenario_keys

GENERATED: dict[str, Callable[[], str]] = {
    "reference/scenario.md": scenario_keys.page,
    "reference/faults.md": scenario_keys.faults_page,
    "reference/plugins.md": plugins.page,
    "reference/command-line.md": command_line.page,
}
PARAMETERS = re.compile(r"<!-- parameters (\w+) (\w+) -->")
BLOCK_OR_INLINE = re.compile(r"^```math\n(.*?)\n```$|\$`([^`\n]+)`\$", re.DOTALL | re.MULTILINE)
SOURCES = "orchestrator|node_image|scenarios|analysis|tests|bench"
OUTSIDE = re.compile(rf"\[[^]]+\]\(\.\./(?:\.\./)?((?:{SOURCES})/[^)]*)\)")
KINDS = {str(kind): kind for kind in plugins.TITLES}
PLACE = "FORMULA-{}-HERE"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from the types."""
    for path, page in GENERATED.items():
        files.append(File.generated(config, path, content=page()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Tables of parameters; formulas leave a mark behind, since Markdown would read their signs as its own."""
    markdown = PARAMETERS.sub(lambda found: plugins.parameters(KINDS[found[1]], found[2]), markdown)
    markdown = OUTSIDE.sub(r"`\1`", markdown)  # source files are not part of the site
    formulas: list[str] = []

    def keep(found: re.Match[str]) -> str:
        display = found[1] is not None
        formulas.append(convert(found[1] if display else found[2], display="block" if display else "inline"))
        return PLACE.format(len(formulas) - 1)

    markdown = BLOCK_OR_INLINE.sub(keep, markdown)
    page.meta["formulas"] = formulas
    return markdown


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the formulas where they belong."""
    for number, formula in enumerate(page.meta.get("formulas", ())):
        html = html.replace(PLACE.format(number), formula)
    return html
