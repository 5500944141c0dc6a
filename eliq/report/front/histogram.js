// The two histograms, each with a threshold that is dragged, typed or moved by keys.

const NUM_BARS = 50;
const bins = { visual_quality: new Float64Array(NUM_BARS), alignment: new Float64Array(NUM_BARS) };

/** How many considered images lie in each bar. */
function countBins() {
  for (const name of SCORES) {
    const bars = bins[name].fill(0);
    if (IS_SAMPLE && !isFiltered()) {
      const perBar = STEPS / NUM_BARS;
      DATA.histograms[name].forEach((number, step) => {
        bars[Math.min(NUM_BARS - 1, Math.floor(step / perBar))] += number;
      });
      continue;
    }
    for (const row of ascending[name]) {
      bars[Math.min(NUM_BARS - 1, Math.max(0, Math.floor(score[name][row] * NUM_BARS)))] += 1;
    }
  }
}

/** A canvas sized to its box in device pixels; the context draws in CSS pixels. */
function fitted(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const ratio = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return { pen, width, height };
}

const colours = {};

/** Canvases know no CSS variables: resolve those of the theme in use. */
function readColours() {
  const probe = document.body.appendChild(element("span"));
  const names = ["ink", "dim", "edge", "quality", "alignment", "idle", "band", "shade", "failed", "dot"];
  for (const name of names) {
    probe.style.color = `var(--${name})`;
    colours[name] = getComputedStyle(probe).color;
  }
  probe.remove();
}

function drawHistogram(name) {
  const card = cards[name];
  const { pen, width, height } = fitted(card.canvas);
  const bars = bins[name];
  const highest = Math.max(1, ...bars);
  const edge = state.least[name] * width;
  const noise = DATA.about.noise * width;
  if (noise >= 0.5 && state.least[name] > 0) {
    pen.fillStyle = colours.band;
    pen.fillRect(edge - noise, 0, 2 * noise, height);
  }
  const draw = (from, to, colour) => {
    pen.save();
    pen.beginPath();
    pen.rect(from, 0, to - from, height);
    pen.clip();
    pen.fillStyle = colour;
    for (let bar = 0; bar < NUM_BARS; bar++) {
      if (!bars[bar]) continue;
      const tall = Math.max(1.5, (height - 16) * bars[bar] / highest);
      pen.fillRect(bar * width / NUM_BARS + 0.5, height - tall, width / NUM_BARS - 1, tall);
    }
    pen.restore();
  };
  draw(0, edge, colours.idle);
  draw(edge, width, name === "alignment" ? colours.alignment : colours.quality);
  card.handle.style.left = `${100 * state.least[name]}%`;
}

const cards = {};

function setUpThreshold(name) {
  const root = document.querySelector(`.score[data-score="${name}"]`);
  const card = {
    root,
    plot: root.querySelector(".plot"),
    canvas: root.querySelector("canvas"),
    handle: root.querySelector(".handle"),
    input: root.querySelector("input"),
    reach: root.querySelector(".reach"),
  };
  cards[name] = card;
  const valueAt = (event) => {
    const box = card.plot.getBoundingClientRect();
    return (event.clientX - box.left) / box.width;
  };
  card.plot.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    card.plot.setPointerCapture(event.pointerId);
    card.handle.focus({ preventScroll: true });
    setThreshold(name, valueAt(event));
  });
  card.plot.addEventListener("pointermove", (event) => {
    if (card.plot.hasPointerCapture(event.pointerId)) setThreshold(name, valueAt(event));
  });
  card.handle.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: -0.01, ArrowDown: -0.01, ArrowRight: 0.01, ArrowUp: 0.01,
      PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 };
    if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    setThreshold(name, state.least[name] + moves[event.key] * (event.shiftKey ? 0.5 : 1));
  });
  card.input.addEventListener("input", () => {
    if (card.input.value !== "") setThreshold(name, Number(card.input.value), true);
  });
  card.input.addEventListener("change", () => showThreshold(name, true));
}

/** The numbers beside one histogram. The field is left alone while the user types in it. */
function showThreshold(name, always = false) {
  const card = cards[name];
  const value = shortNumber(state.least[name]);
  if (always || document.activeElement !== card.input) card.input.value = value;
  const reach = totals.reach[name];
  card.handle.setAttribute("aria-valuenow", value);
  card.handle.setAttribute("aria-valuetext", `${value}: ${count(reach)} images reach it`);
  const missing = totals.considered - totals.failed - numScored(name);
  const parts = [];
  if (state.least[name] === 0) {
    parts.push("0 asks for nothing");
    if (missing > 0) parts.push(`${count(missing)} without ${SCORE_WORDS[name]} pass too`);
  } else {
    parts.push(`${count(reach)} of ${count(numScored(name))} reach it`);
    if (missing > 0) parts.push(`${count(missing)} without ${SCORE_WORDS[name]} miss it`);
  }
  if (DATA.about.noise >= 0.0005 && totals.near[name] && state.least[name] > 0) {
    parts.push(`${count(totals.near[name])} within the noise`);
  }
  card.reach.textContent = parts.join(" · ");
}

const numScored = (name) => bins[name].reduce((sum, number) => sum + number, 0);
