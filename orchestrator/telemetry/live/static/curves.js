// What the charts show of a run: accuracy by node and by run, bytes by kind, joules by component.

import { byId, fill, make, say } from "./dom.js";
import { bytes, componentWords, isModelled, joules, kindWords, percent, seconds, sourceWords } from "./format.js";
import { Chart, quantityAxis } from "./chart.js";
import { colour, palette } from "./looks.js";

const MOST_RUNS = 12;
const percents = (value) => percent(value, 0);

export class Curves {
  constructor() {
    this.accuracy = new Chart(byId("accuracy"), { axis: percents, most: 1, height: 210 });
    this.others = new Chart(byId("others"), { axis: percents, most: 1, height: 170 });
    this.bytes = new Chart(byId("bytes"), { axis: quantityAxis("B"), height: 190 });
    this.energy = new Chart(byId("energy"), { axis: quantityAxis("J"), height: 190 });
    this.runs = [];
  }

  looks() {
    for (const chart of [this.accuracy, this.others, this.bytes, this.energy]) chart.looks();
  }

  draw(run, t, version) {
    const shared = { length: run.length, cursor: t, version, shades: shades(run) };
    this.drawAccuracy(run, t, shared);
    this.drawOthers(run, t, shared);
    this.drawCounts(run, t, shared);
  }

  drawAccuracy(run, t, shared) {
    const { facts } = run;
    this.accuracy.resize(this.runs.length < 2 && this.accuracy.container.clientWidth > 400 ? 340 : 210);
    const curves = run.series.accuracy ?? {};
    const coordinator = facts.nodes.find((node) => node.role === "coordinator" && curves[node.name]);
    const drawn = Math.floor(run.length / facts.curve_s + 1e-6);
    const devices = facts.nodes.filter((node) => node.role === "device" && curves[node.name]?.slice(0, drawn).some((value) => value !== null));
    const groups = [...new Set(facts.nodes.filter((node) => node.role === "device").map((node) => node.group))];
    const x = instants(Math.max(run.main.length, ...devices.map((node) => curves[node.name].length), 1), facts.curve_s);
    const fit = (values) => x.map((_, index) => values[index] ?? null);
    const thin = devices.length > 20 ? "66" : "aa";
    const lines = devices.map((node) => {
      const values = fit(curves[node.name]);
      const few = values.filter((value) => value !== null).length < 3;
      return { name: node.name, values, colour: palette(groups.indexOf(node.group)) + thin, width: 1, dots: few };
    });
    const name = facts.parameters[0]?.[1] ?? "accuracy";
    lines.push({ name: "main", label: coordinator ? name : "mean", values: fit(run.main), colour: colour("ink"), width: 2.5 });
    this.accuracy.draw({ ...shared, x, lines, labels: true });
    const now = run.valueAt(run.main, t);
    const own = devices.map((node) => run.valueAt(curves[node.name], t)).filter((value) => value !== null);
    const whose = coordinator ? "the coordinator's model" : "mean of the devices' own models";
    const range = own.length ? `Devices' own: ${percent(Math.min(...own))} to ${percent(Math.max(...own))}.` : "";
    const key = groups.map((group, index) => [make("span", { class: "chip" }), ` ${group} `, palette(index)]);
    const words = byId("accuracy-words");
    words.replaceChildren(now === null ? "Nothing was evaluated yet. " : `${percent(now)} at ${seconds(t)}: ${whose}. ${range} `);
    if (devices.length) {
      for (const [chip, group, paint] of key) {
        chip.style.background = paint;
        words.append(chip, group);
      }
    }
  }

  /** The accuracy of the other runs of a comparison, as they have been fetched. */
  drawOthers(run, t, shared) {
    byId("algorithms").hidden = this.runs.length < 2;
    if (this.runs.length < 2) return;
    const some = this.runs.slice(0, MOST_RUNS);
    const width = run.facts.curve_s;
    const x = instants(Math.max(...some.map((each) => each.main.length), 1), width);
    const lines = some.map((each, index) => ({
      name: each.key, label: each.short, colour: palette(index), width: each.current ? 3 : 1.5,
      values: x.map((_, bin) => each.main[bin] ?? null),
    }));
    const length = Math.max(run.length, ...some.map((each) => each.main.length * width));
    this.others.draw({ ...shared, length, x, lines, labels: true, shades: shared.shades });
    const said = some.map((each) => `${each.short} ${last(each.main)}`).join(" · ");
    say(byId("others-words"), `At the latest: ${said}${this.runs.length > MOST_RUNS ? ` · ${this.runs.length - MOST_RUNS} more runs are not drawn` : ""}`);
  }

  drawCounts(run, t, shared) {
    const kinds = byMost(run, "payload");
    const { x, lines } = stack(run, "payload", kinds, (kind) => kindWords(kind));
    const wire = [0, ...cumulated(run.series.wire?.[""] ?? [], x.length - 1)];
    if (run.series.wire) lines.push({ name: "wire", label: "on the wire", values: wire, colour: colour("ink"), width: 1.5, dash: [5, 4] });
    this.bytes.draw({ ...shared, x, lines, labels: true });
    const sent = kinds.map((kind) => run.countedUntil("payload", kind, t));
    const all = sum(sent);
    const rows = kinds.map((kind, index) => [kindWords(kind), bytes(sent[index]), share(sent[index], all), bar(sent[index], all, palette(index))]);
    rows.push([{ text: "payload in all", class: "total" }, { text: bytes(all), class: "number total" }, { text: "", class: "number total" }, { text: "", class: "wide total" }]);
    rows.push(["IP bytes, at the interfaces", run.series.wire ? bytes(run.countedUntil("wire", "", t)) : "–", "", ""]);
    fill(byId("bytes-table"), ["kind", { text: "sent", class: "number" }, { text: "share", class: "number" }, { text: "", class: "wide" }], rows);

    this.drawEnergy(run, t, shared);
  }

  /** Modelled joules are stacked and added up; each measured series is a line and a row of its own, added to nothing. */
  drawEnergy(run, t, shared) {
    const parts = byMost(run, "joules");
    const modelled = parts.filter(isModelled), measured = parts.filter((part) => !isModelled(part));
    const longest = Math.max(0, ...parts.map((part) => run.series.joules[part].length));
    const energy = stack(run, "joules", modelled, (part) => componentWords(part.split("/")[0]), longest);
    for (const [index, part] of measured.entries()) {
      const values = [0, ...cumulated(run.series.joules[part], energy.x.length - 1)];
      energy.lines.push({ name: part, label: `${componentWords(part.split("/")[0])} *`, values, colour: palette(modelled.length + index), width: 1.5, dash: [5, 4] });
    }
    this.energy.draw({ ...shared, x: energy.x, lines: energy.lines, labels: true });
    const spent = modelled.map((part) => run.countedUntil("joules", part, t));
    const total = sum(spent);
    const row = (part, used, of, paint) => {
      const [component, source] = part.split("/");
      return [componentWords(component), sourceWords(source), joules(used), of ? share(used, of) : "", of ? bar(used, of, paint) : { text: "", class: "wide" }];
    };
    const table = modelled.map((part, index) => row(part, spent[index], total, palette(index)));
    if (modelled.length) table.push([{ text: "modelled in all", class: "total" }, { text: "", class: "total" }, { text: joules(total), class: "number total" }, { text: "", class: "number total" }, { text: "", class: "wide total" }]);
    table.push(...measured.map((part) => row(part, run.countedUntil("joules", part, t), 0, "")));
    fill(byId("energy-table"), ["component", "source", { text: "used", class: "number" }, { text: "share", class: "number" }, { text: "", class: "wide" }], table);
    const unpowered = run.facts.nodes.filter((node) => !node.powered).map((node) => node.name);
    const without = unpowered.length ? `Not counted, as no power figures are known: ${unpowered.length > 4 ? `${unpowered.length} nodes` : unpowered.join(", ")}.` : "";
    say(byId("energy-words"), [parts.length ? "" : "No joules are recorded yet.", measured.length ? "* Measured (dashed): told beside the modelled joules, never added to them, nor to what another meter saw." : "", without].filter(Boolean).join(" "));
  }
}

const sum = (values) => values.reduce((total, value) => total + value, 0);
const share = (part, all) => (all ? percent(part / all) : "–");
const bar = (part, all, paint) => ({ share: all ? part / all : 0, colour: paint, class: "wide" });
const instants = (count, width) => Array.from({ length: count }, (_, index) => (index + 1) * width);
const last = (bins) => { const value = bins.findLast((each) => each !== null); return value === undefined ? "–" : percent(value); };

/** When faults acted, or are planned to. */
function shades(run) {
  const known = run.facts.faults.filter((fault) => fault.at_s !== null || run.executed[fault.index]?.began_s !== undefined);
  return known.map((fault) => {
    const done = run.executed[fault.index];
    return [done?.began_s ?? fault.at_s, done?.ended_s ?? (done?.began_s !== undefined && fault.heal_s === null ? run.length : fault.heal_s ?? run.length)];
  });
}

/** Names of a counted family, those with most first; ties by name. */
function byMost(run, family) {
  const totals = Object.entries(run.series[family] ?? {}).map(([name, bins]) => [name, sum(bins.map((value) => value ?? 0))]);
  return totals.sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).map(([name]) => name);
}

function cumulated(bins, count) {
  let total = 0;
  return Array.from({ length: count }, (_, index) => (total += bins[index] ?? 0));
}

/** Areas one above the other, the greatest at the bottom; lines go from the top one down. */
function stack(run, family, names, words, atLeast = 1) {
  const count = Math.max(1, atLeast, ...names.map((name) => run.series[family][name].length));
  const x = [0, ...instants(count, run.facts.count_s)];
  const sums = x.map(() => 0);
  const lines = names.map((name, index) => {
    [0, ...cumulated(run.series[family][name], count)].forEach((value, at) => { sums[at] += value; });
    return { name, label: words(name), values: [...sums], colour: palette(index), width: 1, stacked: true };
  });
  return { x, lines: lines.reverse() };
}
