// Draws the page's charts over its static pictures, and the legend that hides variants in all of
// them. A chart that cannot be drawn leaves its picture in place.
(() => {
  "use strict";

  const page = JSON.parse(document.getElementById("chart-page").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const hidden = new Set();
  const charts = [];
  const MOST_OPEN = 12; // More variants than this fold away.

  const element = (name, attributes = {}, ...inside) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...inside);
    return made;
  };

  // Strings of a specification that are exactly a key become its value.
  const replaced = (part, names) => {
    if (typeof part === "string") return names[part] ?? part;
    if (Array.isArray(part)) return part.map((one) => replaced(one, names));
    if (part === null || typeof part !== "object") return part;
    return Object.fromEntries(
      Object.entries(part).map(([key, value]) => [key, replaced(value, names)]),
    );
  };

  const rows = (columns) => {
    const names = Object.keys(columns);
    return columns[names[0]].map((_, row) =>
      Object.fromEntries(names.map((name) => [name, columns[name][row]])),
    );
  };

  const colours = () => (dark.matches ? page.dark : {});

  // Powers of ten as they are written by hand: 2×10¹².
  const superscript = (digits) =>
    digits.replace(/./g, (digit) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(digit)]);
  const power = (value) => {
    if (value < 0) return `−${power(-value)}`;
    if (value === 0 || (value >= 0.001 && value < 1000)) return String(Number(value.toPrecision(3)));
    const [factor, exponent] = value.toExponential(2).replace("e+", "e").split("e");
    const short = String(Number(factor));
    return (short === "1" ? "" : `${short}×`) + `10${superscript(exponent)}`;
  };

  const signed = (value) =>
    (value > 0 ? "+" : "") + String(Number(value.toPrecision(4))).replace("-", "−");

  // -- One chart ------------------------------------------------------------------------------

  // A panel of rows is as high as those that are shown.
  const heightOf = (chart, panel) => {
    const shown = chart.datasets[panel.rows].filter(({ label }) => !hidden.has(label));
    const places = new Set(shown.map(({ row, label }) => `${row} ${label}`));
    return panel.spec.height * Math.max(1, places.size);
  };

  const specification = (chart, panel) => {
    let spec = replaced(panel.spec, colours());
    for (const names of chart.choices) spec = replaced(spec, names);
    for (const parameter of spec.params) {
      if (parameter.name === "hidden") parameter.value = [...hidden];
    }
    if (panel.rows) spec.height = heightOf(chart, panel);
    return { ...spec, datasets: { ...spec.datasets, ...chart.datasets } };
  };

  const draw = async (chart) => {
    const turn = (chart.turn = (chart.turn ?? 0) + 1);
    for (const drawn of chart.drawn) drawn.finalize();
    chart.drawn = [];
    for (const panel of chart.panels) {
      const drawn = await vegaEmbed(panel.place, specification(chart, panel), {
        actions: false,
        config: replaced(page.config, colours()),
        expressionFunctions: { power, signed },
        mode: "vega-lite",
        logLevel: 1, // Errors alone.
        renderer: "svg",
        tooltip: { theme: dark.matches ? "dark" : "light" },
      });
      // Another theme or choice was asked for meanwhile.
      if (turn !== chart.turn) return drawn.finalize();
      panel.place.querySelector("svg").setAttribute("aria-hidden", "true");
      panel.view = drawn.view;
      chart.drawn.push(drawn);
    }
    hideIn(chart);
    chart.box.dataset.drawn = String(chart.drawn.length);
  };

  const open = (chart) => {
    chart.begun = true;
    const focused = chart.figure.contains(document.activeElement);
    chart.figure.classList.add("charted");
    // The focus goes on from the picture that is gone.
    if (focused) chart.box.focus();
    draw(chart).catch((error) => {
      chart.figure.classList.remove("charted");
      chart.around.forEach((part) => part.remove());
      charts.splice(charts.indexOf(chart), 1);
      console.error(error);
    });
  };

  const hideIn = (chart) => {
    for (const panel of chart.panels) {
      panel.place.hidden = panel.labels.length > 0 && panel.labels.every((one) => hidden.has(one));
      if (!panel.view) continue;
      if (panel.rows) panel.view.height(heightOf(chart, panel));
      panel.view.signal("hidden", [...hidden]).runAsync();
    }
  };

  const switchOf = (chart, choice, place, group) => {
    const set = element("div", { role: "radiogroup", "aria-label": choice.name });
    set.append(element("span", {}, choice.name));
    choice.options.forEach((option, index) => {
      const input = element("input", { type: "radio", name: `${group}-${place}` });
      input.checked = index === 0;
      input.addEventListener("change", () => {
        chart.choices[place] = option.replaced;
        draw(chart);
      });
      set.append(element("label", {}, input, option.text));
    });
    return set;
  };

  // -- Points by keyboard -----------------------------------------------------------------------

  // Arrow keys go through the points of a focused chart and show what each tells.
  const readPoints = (chart) => {
    const told = element("div", { class: "spoken", "aria-live": "polite" });
    let place = -1;
    const points = () =>
      chart.panels
        .filter((panel) => panel.view && !panel.place.hidden)
        .flatMap((panel) =>
          [...panel.place.querySelectorAll(".mark-symbol path")]
            .filter((path) => path.__data__?.tooltip)
            .map((path) => ({ path, item: path.__data__, view: panel.view })),
        );
    const tell = (point, value) => {
      const { left, top, width, height } = point.path.getBoundingClientRect();
      const at = { clientX: left + width / 2, clientY: top + height / 2 };
      point.view.tooltip()(null, at, point.item, value);
    };
    chart.box.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const all = points();
      if (!all.length || (step === undefined && event.key !== "Escape")) return;
      event.preventDefault();
      if (step === undefined) return tell(all[0], null);
      place = (place + step + all.length) % all.length;
      const { item } = all[place];
      all[place].path.scrollIntoView({ block: "nearest" });
      tell(all[place], item.tooltip);
      told.textContent = Object.entries(item.tooltip)
        .map(([name, value]) => (name === "title" ? value : `${name}: ${value}`))
        .join(", ");
    });
    chart.box.addEventListener("blur", () => {
      const [first] = points();
      if (first) tell(first, null);
    });
    return told;
  };

  // -- The page ---------------------------------------------------------------------------------

  const build = (figure, group) => {
    const read = JSON.parse(figure.querySelector(".chart-data").textContent);
    const alt = figure.querySelector("img").alt;
    const chart = {
      figure,
      // Arrow keys are the chart's own, so that a screen reader hands them on.
      box: element("div", {
        class: `chart columns-${Math.min(read.columns, read.panels.length)}`,
        role: "application",
        "aria-roledescription": "interactive chart",
        "aria-label": `${alt} Arrow keys read its points.`,
        tabindex: "0",
      }),
      choices: read.switches.map(() => ({})),
      datasets: Object.fromEntries(
        Object.entries(read.data).map(([name, columns]) => [name, rows(columns)]),
      ),
      drawn: [],
      panels: read.panels.map((panel) => ({ ...panel, place: element("div") })),
    };
    chart.box.append(...chart.panels.map((panel) => panel.place));
    const above = element("div", { class: "chart-controls" });
    above.append(...read.switches.map((choice, place) => switchOf(chart, choice, place, group)));
    if (read.key) above.append(keyOf(read.key));
    chart.around = [above, chart.box, readPoints(chart)];
    figure.prepend(...chart.around);
    return chart;
  };

  // -- The legend -------------------------------------------------------------------------------

  const buttons = [];

  const swatch = ({ colour, shape, dash }) => {
    const shown = colours()[colour] ?? colour;
    const made = element("span", { class: "swatch", "aria-hidden": "true" });
    // Only our own colours, outlines and lengths are in it.
    made.innerHTML =
      '<svg width="28" height="14" viewBox="-14 -7 28 14">' +
      `<line x1="-14" x2="14" stroke="${shown}" stroke-width="2" stroke-dasharray="${dash}"/>` +
      `<path d="${page.outlines[shape] ?? shape}" fill="${shown}" transform="scale(5)"/></svg>`;
    return made;
  };

  // A button that hides its labels in every chart, or shows them where some are hidden.
  const toggle = (text, labels, looks) => {
    const button = element("button", { type: "button" }, element("span", {}, text));
    button.addEventListener("click", () => {
      const hide = labels.every((label) => !hidden.has(label));
      for (const label of labels) hide ? hidden.add(label) : hidden.delete(label);
      update();
    });
    buttons.push({ button, labels, looks });
    return button;
  };

  const paint = ({ button, looks }) => {
    button.querySelectorAll(".swatch").forEach((old) => old.remove());
    button.prepend(...looks.map(swatch));
  };

  const update = () => {
    for (const { button, labels } of buttons) {
      const n = labels.filter((label) => hidden.has(label)).length;
      const pressed = n === 0 ? "true" : n === labels.length ? "false" : "mixed";
      button.setAttribute("aria-pressed", pressed);
    }
    const all = page.variants.flatMap((variant) => variant.labels).length;
    counted.textContent = hidden.size ? `${all - hidden.size} of ${all} shown` : "all shown";
    charts.filter((chart) => chart.begun).forEach(hideIn);
  };

  const counted = element("span", { role: "status" });

  // One button a variant; where it has several rates, one for it and one for each of them.
  const variantButtons = ({ title, labels }) => {
    if (labels.length === 1) return toggle(title, [labels[0].label], labels[0].looks);
    const names = labels.map(({ label }) => label);
    const group = element("span", { class: "rates", role: "group", "aria-label": title });
    group.append(
      toggle(title, names, labels[0].looks.slice(0, 1)),
      ...labels.map((one) => {
        const button = toggle(one.rate, [one.label], []);
        button.setAttribute("aria-label", one.title);
        return button;
      }),
    );
    return group;
  };

  const command = (text, labels) => {
    const button = element("button", { type: "button", class: "all" }, text);
    button.addEventListener("click", () => {
      hidden.clear();
      labels.forEach((label) => hidden.add(label));
      update();
    });
    return button;
  };

  const legend = () => {
    const labels = page.variants.flatMap((variant) => variant.labels.map(({ label }) => label));
    const title = element("summary", {}, "Variants in the charts: ", counted);
    const list = element("div", { role: "group", "aria-label": "Variants in the charts" });
    list.append(
      command("Show all", []),
      command("Hide all", labels),
      ...page.variants.map(variantButtons),
    );
    const box = element("details", { class: "variants" }, title, list);
    box.open = labels.length <= MOST_OPEN && matchMedia("(min-width: 44rem)").matches;
    return box;
  };

  // The key of one chart: the same buttons beside it, for the pointer; the keyboard has the legend.
  const keyOf = (names) => {
    const key = element("div", { class: "key" });
    for (const { labels, title, look } of names) {
      const button = toggle(title, labels, [look]);
      button.tabIndex = -1;
      key.append(button);
    }
    return key;
  };

  // -- Begin ------------------------------------------------------------------------------------

  const near = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        const chart = charts.find((one) => one.figure === target);
        if (isIntersecting && !chart.begun) open(chart);
      }
    },
    { rootMargin: "600px 0px" },
  );
  document.querySelector("main > section").after(legend());
  document.querySelectorAll("figure:has(.chart-data)").forEach((figure, place) => {
    charts.push(build(figure, `chart-${place}`));
    near.observe(figure);
  });
  buttons.forEach(paint);
  update();
  dark.addEventListener("change", () => {
    buttons.forEach(paint);
    charts.filter((chart) => chart.begun).forEach(draw);
  });
})();
