// Four strips: best and worst by what the grid is sorted by, and either side of a threshold.

const STRIP_LENGTH = 12;
const STRIP_PAUSE_MS = 90;

/** The first place in an ascending list of rows whose score reaches the value. */
function lowerBound(rows, values, value) {
  let from = 0;
  let to = rows.length;
  while (from < to) {
    const middle = (from + to) >> 1;
    if (values[rows[middle]] < value) from = middle + 1;
    else to = middle;
  }
  return from;
}

function stripRows() {
  const name = mainScore();
  const rows = ascending[name];
  const edge = lowerBound(rows, score[name], state.least[name]);
  const order = orderBy(stripOrder());
  const known = ascending[stripOrder()] ??
    order.slice(0, order.num_known).filter((row) => considered[row]);
  return {
    best: known.slice(-STRIP_LENGTH).reverse(),
    worst: known.slice(0, STRIP_LENGTH),
    above: rows.slice(edge, edge + STRIP_LENGTH),
    below: rows.slice(Math.max(0, edge - STRIP_LENGTH), edge).reverse(),
  };
}

/** A path is no better than another: the strips are then of visual quality. */
const stripOrder = () => (state.sort === "path" ? "visual_quality" : state.sort);

let stripsDue = 0;

/** While a threshold is dragged the strips follow a little later: two dozen pictures to load must
 * not hold up the counts and the plots. */
function showStripsSoon() {
  if (stripsDue) return;
  stripsDue = setTimeout(showStrips, STRIP_PAUSE_MS);
}

function showStrips() {
  clearTimeout(stripsDue);
  stripsDue = 0;
  if (!$("strips").open) return;
  const name = mainScore();
  const found = stripRows();
  const order = document.querySelector(`#sort [value="${stripOrder()}"]`).textContent;
  const least = `${SCORE_WORDS[name]} ${shortNumber(state.least[name])}`;
  const note = state.sort === "path" ? order : "the score that sorts the grid";
  $("strips-note").textContent = `by ${note}`;
  for (const section of document.querySelectorAll("[data-strip]")) {
    const kind = section.dataset.strip;
    const rows = found[kind];
    const strip = section.querySelector(".strip");
    strip.rows = rows;
    section.querySelector("h3").textContent = {
      best: `Best by ${order}`, worst: `Worst by ${order}`,
      above: `Just reach ${least}`, below: `Just miss ${least}`,
    }[kind];
    while (strip.children.length > rows.length || strip.querySelector(".none")) {
      strip.lastElementChild.remove();
    }
    while (strip.children.length < rows.length) strip.append(makeTile());
    rows.forEach((row, place) => {
      strip.children[place].place = place;
      fillTile(strip.children[place], row, { digits: 2 });
    });
    if (!rows.length) {
      const isOpen = kind === "below" && state.least[name] === 0;
      strip.append(element("p", "none dim", isOpen ? "none: 0 asks for nothing" : "none"));
    }
  }
}

function setUpStrips() {
  $("strips").addEventListener("toggle", showStrips);
  $("strips").addEventListener("click", (event) => {
    const tile = event.target.closest(".tile");
    if (!tile) return;
    const title = tile.closest("[data-strip]").querySelector("h3").textContent;
    openView(tile.row, tile.parentElement.rows, `in “${title}”`, tile.place);
  });
}
