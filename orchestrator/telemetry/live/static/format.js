// Quantities as a reader wants them, in the words of orchestrator/quantities.py: 1.23 MB, 45.0 ms, 71.3 %.

const PREFIXES = [[1e9, "G"], [1e6, "M"], [1e3, "k"]];
const NBSP = "\u00a0";

function threeDigits(value) {
  const size = Math.abs(value);
  if (value === 0 || size >= 99.95) return value.toFixed(0);
  return size < 9.995 ? value.toFixed(2) : value.toFixed(1);
}

/** Three digits and an SI prefix (powers of 1000). */
export function withUnit(value, symbol) {
  for (const [factor, prefix] of PREFIXES) {
    if (Math.abs(value) >= factor * 0.9995) return threeDigits(value / factor) + NBSP + prefix + symbol;
  }
  return (Number.isInteger(value) ? value.toFixed(0) : threeDigits(value)) + NBSP + symbol;
}

export const bytes = (value) => withUnit(value, "B");
export const joules = (value) => withUnit(value, "J");
export const rate = (bps) => withUnit(bps, "bit/s");
export const percent = (ratio, digits = 1) => (100 * ratio).toFixed(digits) + NBSP + "%";

/** A length of time: ms below a second, minutes above two of them. */
export function seconds(value) {
  if (value > 0 && value < 1) return threeDigits(value * 1e3) + NBSP + "ms";
  if (value >= 7200) return (value / 3600).toFixed(1) + NBSP + "h";
  return value >= 600 ? (value / 60).toFixed(1) + NBSP + "min" : value.toFixed(1) + NBSP + "s";
}

/** A number on an axis: no more digits than it needs. */
export function onAxis(value, symbol) {
  if (value === 0) return "0";
  for (const [factor, prefix] of PREFIXES) {
    if (Math.abs(value) >= factor * 0.9995) return Number((value / factor).toPrecision(3)) + NBSP + prefix + symbol;
  }
  return Number(value.toPrecision(3)) + NBSP + symbol;
}

export const kindWords = (kind) => kind.replaceAll("_", " ");

const COMPONENTS = {
  base: "board", cpu: "CPU", gpu: "GPU", radio_idle: "radio, idle", radio_active: "radio, active",
  radio_tx: "radio, sending", radio_rx: "radio, receiving", radio_promotion: "radio, waking up", radio_tail: "radio, tail",
};
export const componentWords = (component) => COMPONENTS[component] ?? component.replaceAll("_", " ");
export const isModelled = (part) => part.endsWith("/model"); // of `component/source`
export const sourceWords = (source) => (source === "model" ? "modelled" : source === "unknown" ? "unknown" : `measured, ${source.replace(/^measured:/, "")}`);
