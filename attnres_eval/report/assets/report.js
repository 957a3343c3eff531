"use strict";
// Tables of the report page: headings that sort, and copies as CSV, Markdown and LaTeX.
// Without this script a table is the same table; all controls are made here.
(() => {
  const MISSING = "–";
  const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

  // A number as the report writes it: 1.23e+04, 5.98×10¹⁴, −0.2, 12,000, 40%, 1.30×,
  // or an interval "0.9 to 1.2", which stands for its lower end.
  const NUMBER = new RegExp(
    `^([+-]?)(\\d[\\d,]*(?:\\.\\d+)?|inf)(?:e([+-]?\\d+)|×10([⁻${SUPERSCRIPTS}]+))? ?[%×]?(?: to .*)?$`,
  );

  /** The number that a cell shows; null where it shows none. */
  function numberIn(text) {
    const match = NUMBER.exec(text.trim().replace(/−/g, "-"));
    if (!match) return null;
    const [, sign, digits, exponent, raised] = match;
    const size = digits === "inf" ? Infinity : Number(digits.replace(/,/g, ""));
    const power = raised ? plainDigits(raised) : exponent;
    const value = size === Infinity ? size : Number(`${size}e${power ?? 0}`);
    return sign === "-" ? -value : value;
  }

  function plainDigits(raised) {
    return [...raised].map((one) => (one === "⁻" ? "-" : SUPERSCRIPTS.indexOf(one))).join("");
  }

  const isMissing = (text) => text.trim() === MISSING || text.trim() === "";
  const collator = new Intl.Collator("en", { numeric: true });

  /**
   * Rows in the order of one column, missing values last in both directions.
   *
   * A column of numbers is sorted by them, any other by its text; equal rows keep their order.
   */
  function sorted(rows, column, direction) {
    const keyed = rows.map((row) => ({ row, text: row.cells[column].textContent }));
    const present = keyed.filter((one) => !isMissing(one.text));
    const missing = keyed.filter((one) => isMissing(one.text));
    for (const one of present) one.number = numberIn(one.text);
    const numeric = present.every((one) => one.number !== null);
    const compare = numeric
      ? (a, b) => (a.number === b.number ? 0 : a.number < b.number ? -1 : 1)
      : (a, b) => collator.compare(a.text, b.text);
    const sign = direction === "descending" ? -1 : 1;
    present.sort((a, b) => sign * compare(a, b));
    return [...present, ...missing].map((one) => one.row);
  }

  const NEXT = { none: "ascending", ascending: "descending", descending: "none" };

  function makeSortable(table, say) {
    const body = table.tBodies[0];
    const original = [...body.rows];
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      const name = heading.textContent;
      const button = makeButton(name, () => {
        const direction = NEXT[heading.getAttribute("aria-sort") ?? "none"];
        for (const other of headings) other.removeAttribute("aria-sort");
        if (direction !== "none") heading.setAttribute("aria-sort", direction);
        const rows = direction === "none" ? original : sorted(original, column, direction);
        body.append(...rows);
        say(direction === "none" ? "Original order" : `Sorted by ${name}, ${direction}`);
      });
      button.className = "sort";
      heading.replaceChildren(button);
    });
  }

  function contents(table) {
    const texts = (row) => [...row.cells].map((cell) => cell.textContent);
    const headings = [...table.tHead.rows[0].cells];
    return {
      headings: headings.map((cell) => cell.textContent),
      numeric: headings.map((cell) => cell.classList.contains("number")),
      rows: [...table.tBodies[0].rows].map(texts),
    };
  }

  /** RFC 4180, but for the line ends; a missing value is an empty field, as in tables/. */
  function asCsv({ headings, rows }) {
    const field = (text) => (/[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text);
    const line = (cells) => cells.map((text) => field(text === MISSING ? "" : text)).join(",");
    return [headings, ...rows].map((cells) => line(cells) + "\n").join("");
  }

  function asMarkdown({ headings, numeric, rows }) {
    const escaped = (text) =>
      text
        .replace(/&/g, "&amp;")
        .replace(/</g, "&lt;")
        .replace(/[\\`*[\]|]/g, "\\$&")
        .replace(/\n/g, " ");
    const line = (cells) => `| ${cells.join(" | ")} |\n`;
    const rule = line(numeric.map((right) => (right ? "---:" : "---")));
    const [first, ...rest] = [headings, ...rows].map((cells) => line(cells.map(escaped)));
    return [first, rule, ...rest].join("");
  }

  // What LaTeX reads otherwise, or has no letter for: the same as in attnres_eval/report/captions.py.
  const LATEX = {
    "&": "\\&", "%": "\\%", $: "\\$", "#": "\\#", _: "\\_", "{": "\\{", "}": "\\}",
    "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}",
    "<": "\\textless{}", ">": "\\textgreater{}", "×": "\\ensuremath{\\times}",
    "·": "\\ensuremath{\\cdot}", "≤": "\\ensuremath{\\le}", "≥": "\\ensuremath{\\ge}",
    "−": "\\ensuremath{-}", "–": "--", "“": "``", "”": "''", "’": "'", "\n": " ",
  };
  const RAISED = new RegExp(`[⁻${SUPERSCRIPTS}]+|[^]`, "gu");

  function latexText(text) {
    return text.replace(RAISED, (found) =>
      /^[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]/.test(found)
        ? `\\textsuperscript{${plainDigits(found)}}`
        : (LATEX[found] ?? found),
    );
  }

  /** A booktabs tabular. */
  function asLatex({ headings, numeric, rows }) {
    const line = (cells) => cells.map(latexText).join(" & ") + " \\\\\n";
    const columns = numeric.map((right) => (right ? "r" : "l")).join("");
    return (
      `\\begin{tabular}{${columns}}\n\\toprule\n${line(headings)}\\midrule\n` +
      `${rows.map(line).join("")}\\bottomrule\n\\end{tabular}\n`
    );
  }

  const FORMATS = { CSV: asCsv, Markdown: asMarkdown, LaTeX: asLatex };

  /** Puts text on the clipboard; a page from a disk may not have the newer way to it. */
  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      return copyFromField(text);
    }
  }

  function copyFromField(text) {
    const focused = document.activeElement;
    const field = document.createElement("textarea");
    field.className = "unseen";
    field.value = text;
    document.body.append(field);
    field.select();
    const copied = document.execCommand("copy");
    field.remove();
    focused?.focus({ preventScroll: true });
    return copied;
  }

  function makeButton(text, press) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", press);
    return button;
  }

  /** The row of controls above a table, and what says what they did. */
  function makeTools(table) {
    const tools = document.createElement("div");
    tools.className = "tools";
    tools.setAttribute("role", "group");
    tools.setAttribute("aria-label", `Copy the table: ${table.caption.textContent}`);
    const status = document.createElement("span");
    status.setAttribute("role", "status");
    const say = (text) => (status.textContent = text);
    const buttons = Object.entries(FORMATS).map(([name, write]) => {
      const button = makeButton(name, async () => {
        const shown = contents(table);
        const rows = `${shown.rows.length} ${shown.rows.length === 1 ? "row" : "rows"}`;
        say("");
        const copied = await copy(write(shown));
        say(
          copied
            ? `Copied ${rows} as ${name}`
            : "The browser gave no access to the clipboard: nothing is copied",
        );
      });
      button.setAttribute("aria-label", `Copy as ${name}`);
      return button;
    });
    const label = document.createElement("span");
    label.textContent = "Copy as";
    label.setAttribute("aria-hidden", "true");
    tools.append(label, ...buttons, status);
    return { tools, say };
  }

  for (const table of document.querySelectorAll(".scroll > table")) {
    const { tools, say } = makeTools(table);
    table.parentElement.before(tools);
    makeSortable(table, say);
  }

  // What is folded is printed too.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const details of opened) details.open = true;
  });
  addEventListener("afterprint", () => {
    for (const details of opened) details.open = false;
    opened = [];
  });
})();
