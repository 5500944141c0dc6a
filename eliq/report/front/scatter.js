// Visual quality against alignment, one dot an image; what misses a threshold is grey on a shade.

const DOT_PX = 2.4;
let dots = null; // the dots as two pictures, kept and dropped: a moved threshold draws no dot again

function drawScatter() {
  const canvas = $("scatter");
  const { pen, width, height } = fitted(canvas);
  if (!width) return;
  const ratio = window.devicePixelRatio || 1;
  dots ??= [colours.quality, colours.dot].map((colour) => {
    const picture = document.createElement("canvas");
    picture.width = canvas.width;
    picture.height = canvas.height;
    const ink = picture.getContext("2d");
    ink.scale(ratio, ratio);
    ink.fillStyle = colour;
    ink.globalAlpha = Math.min(0.85, Math.max(0.16, 900 / (1 + ascending.alignment.length)));
    for (const row of ascending.alignment) {
      if (!isScored[row]) continue;
      const [x, y] = placeOf(row, width, height);
      ink.fillRect(x - DOT_PX / 2, y - DOT_PX / 2, DOT_PX, DOT_PX);
    }
    return picture;
  });
  const x = state.least.visual_quality * width;
  const y = (1 - state.least.alignment) * height;
  pen.fillStyle = colours.shade;
  pen.fillRect(0, 0, x, height);
  pen.fillRect(x, y, width - x, height - y);
  pen.drawImage(dots[1], 0, 0, width, height);
  pen.save();
  pen.beginPath();
  pen.rect(x, 0, width - x, y);
  pen.clip();
  pen.clearRect(0, 0, width, height);
  pen.drawImage(dots[0], 0, 0, width, height);
  pen.restore();
  pen.fillStyle = colours.ink;
  if (state.least.visual_quality > 0) pen.fillRect(x - 0.5, 0, 1, height);
  if (state.least.alignment > 0) pen.fillRect(0, y - 0.5, width, 1);
  if (picked !== null) {
    const [left, top] = placeOf(picked, width, height);
    pen.strokeStyle = colours.failed;
    pen.lineWidth = 2;
    pen.strokeRect(left - 5, top - 5, 10, 10);
  }
}

let picked = null;

const placeOf = (row, width, height) => [
  score.visual_quality[row] * (width - 4) + 2,
  (1 - score.alignment[row]) * (height - 4) + 2,
];

/** The considered row whose dot is nearest to the pointer, within a few pixels. */
function nearestDot(event) {
  const canvas = $("scatter");
  const box = canvas.getBoundingClientRect();
  let best = null;
  let least = 14 ** 2;
  for (const row of ascending.alignment) {
    const [x, y] = placeOf(row, box.width, box.height);
    const distance = (x - event.clientX + box.left) ** 2 + (y - event.clientY + box.top) ** 2;
    if (distance < least) [best, least] = [row, distance];
  }
  return best;
}

function setUpScatter() {
  const canvas = $("scatter");
  const tip = $("scatter-tip");
  const hide = () => {
    picked = null;
    tip.hidden = true;
    drawScatter();
  };
  canvas.addEventListener("pointermove", (event) => {
    const row = nearestDot(event);
    if (row === null) return hide();
    if (row !== picked) {
      picked = row;
      showPicture(tip.querySelector("img"), thumbnailOf(row));
      tip.querySelector("span").textContent =
        `quality ${shown(score.visual_quality[row])}\nalignment ${shown(score.alignment[row])}`;
      drawScatter();
    }
    tip.hidden = false;
    const [x, y] = placeOf(row, canvas.clientWidth, canvas.clientHeight);
    tip.style.left = `${Math.min(Math.max(0, x - 90), canvas.clientWidth - tip.offsetWidth)}px`;
    tip.style.top = y > 110 ? `${y - tip.offsetHeight - 10}px` : `${y + 12}px`;
  });
  canvas.addEventListener("pointerleave", hide);
  canvas.addEventListener("click", (event) => {
    const row = nearestDot(event);
    if (row !== null) openView(row, [...ascending.alignment].reverse(), "with both scores");
  });
}

function describeScatter() {
  const number = ascending.alignment.length;
  const text = `${plural(number, "image")} with both scores`;
  $("scatter-note").textContent = IS_SAMPLE ? `${text}, of this sample` : text;
  $("scatter").setAttribute("aria-label", `Scatter of visual quality against alignment: ${text}; ` +
    "every image is in the list too");
}
