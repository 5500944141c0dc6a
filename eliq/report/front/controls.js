// The toolbar, the keys, the theme.

function setUpToolbar() {
  let timer = 0;
  $("search").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const text = $("search").value.normalize("NFC").toLowerCase();
      state.words = (text.match(/-?"[^"]+"|\S+/g) ?? []).map((word) => word.replaceAll('"', ""))
        .filter((word) => word && word !== "-");
      refreshAll();
    }, 90);
  });
  for (const button of document.querySelectorAll("[data-show]")) {
    button.addEventListener("click", () => setShow(button.dataset.show));
  }
  $("sort").addEventListener("change", () => setSort($("sort").value));
  $("direction").addEventListener("click", flipDirection);
  $("size").addEventListener("input", () => keepPlace(() => {
    measureGrid();
    showTiles();
  }));
  $("clear").addEventListener("click", () => {
    $("search").value = "";
    state.words = [];
    state.flags.clear();
    for (const chip of $("flags").children) showChip(chip);
    setShow("all");
    refreshAll();
  });
  setUpFlags();
}

/** One chip a flag: click for only those images, again for all but those, again for any. */
function setUpFlags() {
  const found = Object.entries(DATA.totals.flags).sort((a, b) => b[1] - a[1]);
  for (const [flag, number] of found) {
    const chip = element("button");
    chip.type = "button";
    chip.dataset.flag = flag;
    chip.dataset.number = number;
    chip.title = DATA.words[flag] ?? "";
    chip.addEventListener("click", () => {
      const next = { undefined: "only", only: "without", without: undefined }[state.flags.get(flag)];
      if (next) state.flags.set(flag, next);
      else state.flags.delete(flag);
      showChip(chip);
      refreshAll();
    });
    showChip(chip);
    $("flags").append(chip);
  }
}

function showChip(chip) {
  const { flag, number } = chip.dataset;
  const want = state.flags.get(flag);
  const word = { only: "only ", without: "without " }[want] ?? "";
  chip.textContent = `${word}${flag.replaceAll("_", " ")} ${count(Number(number))}`;
  if (want) chip.dataset.state = want;
  else delete chip.dataset.state;
  chip.setAttribute("aria-pressed", String(Boolean(want)));
}

function setShow(show) {
  state.show = show;
  for (const button of document.querySelectorAll("[data-show]")) {
    button.setAttribute("aria-pressed", String(button.dataset.show === show));
  }
  refreshList();
}

function setSort(name) {
  const was = state.sort;
  state.sort = $("sort").value = name;
  // Names begin with the first, scores with the best.
  if ((name === "path") !== (was === "path")) state.descending = name !== "path";
  showDirection();
  refreshList();
  showStrips();
}

function flipDirection() {
  state.descending = !state.descending;
  showDirection();
  refreshList();
}

function showDirection() {
  const button = $("direction");
  const [down, up] = state.sort === "path" ? ["Last", "First"] : ["Best", "Worst"];
  button.textContent = state.descending ? "↓" : "↑";
  button.setAttribute("aria-label", `${state.descending ? down : up} first`);
  button.setAttribute("aria-pressed", String(state.descending));
}

/** Do something to the layout of the grid and leave the same image at the top of the window. */
function keepPlace(change) {
  const top = -$("grid").getBoundingClientRect().top;
  const place = top > 0 ? Math.floor(top / grid.rowHeight) * grid.columns : null;
  change();
  if (place === null) return;
  const start = $("grid").getBoundingClientRect().top + window.scrollY;
  window.scrollTo(0, start + Math.floor(place / grid.columns) * grid.rowHeight);
}

const THEMES = { auto: ["◐", "as the system"], light: ["☀", "light"], dark: ["☾", "dark"] };

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  $("theme").textContent = THEMES[theme][0];
  $("theme").setAttribute("aria-label", `Theme: ${THEMES[theme][1]}`);
  dots = null;
  readColours();
  drawPlots();
}

function setUpTheme() {
  let stored = null;
  try {
    stored = localStorage.getItem("eliq-theme");
  } catch {
    // refused, as below
  }
  setTheme(stored in THEMES ? stored : "auto");
  const next = { auto: "light", light: "dark", dark: "auto" };
  $("theme").addEventListener("click", () => {
    const theme = next[document.documentElement.dataset.theme];
    setTheme(theme);
    try {
      localStorage.setItem("eliq-theme", theme);
    } catch {
      // a browser may refuse to store for a local file: the choice then lasts as long as the page
    }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
    setTheme(document.documentElement.dataset.theme));
}

function setUpKeys() {
  $("help-open").addEventListener("click", () => $("help").showModal());
  $("help-close").addEventListener("click", () => $("help").close());
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if ($("view").open || $("help").open) return;
    const isText = event.target.matches?.("input:not([type=range]), select, textarea");
    if (isText) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const nudge = (by) => setThreshold(mainScore(), state.least[mainScore()] + by);
    const actions = {
      "/": () => $("search").focus(),
      "?": () => $("help").showModal(),
      "1": () => setSort("visual_quality"),
      "2": () => setSort("alignment"),
      "[": () => nudge(-0.01),
      "]": () => nudge(0.01),
      a: () => setShow("all"),
      k: () => setShow("kept"),
      d: () => setShow("dropped"),
      r: flipDirection,
      t: () => $("theme").click(),
    };
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  });
}
