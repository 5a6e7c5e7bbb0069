// Colours come from the style sheet, so that canvas drawings follow the light or dark looks of the page.

const known = new Map();
const dark = matchMedia("(prefers-color-scheme: dark)");
dark.addEventListener("change", () => known.clear());

/** The value of a colour variable now. */
export function colour(name) {
  if (!known.has(name)) known.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
  return known.get(name);
}

export const COLOURS = 12;
/** A colour of its own for each of some things, by their order; they come back after twelve. */
export const palette = (index) => colour(`c${index % COLOURS}`);
export const font = (size) => `${size}px ${getComputedStyle(document.body).fontFamily}`;

/** Call back when the looks change. */
export const onLooks = (redraw) => dark.addEventListener("change", redraw);
