// The drawing of devices and links. Shape tells the group, fill and border the state: nothing is said by colour alone.

import { byId, make, say } from "./dom.js";
import { bytes, percent, rate, seconds, withUnit } from "./format.js";
import { colour, font } from "./looks.js";
import { places } from "./places.js";

const SHAPES = ["ellipse", "diamond", "triangle", "pentagon", "hexagon", "tag"];
const STATES = { planned: "not started", ready: "ready", up: "up", finished: "finished", stopped: "stopped", died: "ended by itself" };
const MANY = 16; // nodes: with more, names shrink and rates are not written beside them
const CUTTING = new Set(["partition", "disconnect"]); // faults of nodes that show at their links
const CROWD = 40; // with more, only those in a fault, ended or chosen have their name

/** What a node is doing at an instant, in a word or two: its faults first. */
export function condition(run, name, t, faults = run.faultsAt(t)) {
  const state = run.stateAt(name, t) ?? "planned";
  const kinds = [...new Set(faults.filter((fault) => fault.nodes.includes(name)).map((fault) => fault.kind))];
  return { state, kinds, words: [...kinds, STATES[state]].join(", ") };
}

export class Topology {
  constructor(choose) {
    this.container = byId("graph");
    this.chosen = null;
    this.onChoose = choose;
    new ResizeObserver(() => this.place()).observe(this.container);
  }

  /** Draw another run. */
  begin(run) {
    const { facts } = run;
    this.cy?.destroy();
    this.places = places(facts);
    this.pairs = new Map();
    for (const link of facts.links) {
      const key = [link.source, link.target].sort().join("|");
      if (!this.pairs.has(key)) this.pairs.set(key, { id: `pair ${key}`, source: link.source, target: link.target, links: [] });
      this.pairs.get(key).links.push(link);
    }
    this.links = new Map(facts.nodes.map((node) => [node.name, facts.links.filter((l) => l.source === node.name || l.target === node.name)]));
    this.groups = [...new Set(facts.nodes.filter((node) => node.role === "device").map((node) => node.group))];
    const known = new Set([...facts.nodes.map((node) => node.name), ...facts.switches]);
    this.count = known.size;
    this.cy = cytoscape({
      container: this.container,
      elements: [
        ...facts.nodes.map((node) => ({
          data: { id: node.name, label: node.name, shape: node.role === "device" ? SHAPES[this.groups.indexOf(node.group) % SHAPES.length] : "round-rectangle" },
          classes: node.role,
        })),
        ...facts.switches.map((name) => ({ data: { id: name, label: name, shape: "rectangle" }, classes: "switch" })),
        ...[...this.pairs.values()]
          .filter((pair) => known.has(pair.source) && known.has(pair.target))
          .map((pair) => ({ data: { id: pair.id, source: pair.source, target: pair.target, wide: 1 } })),
      ],
      layout: { name: "preset" },
      userZoomingEnabled: false, userPanningEnabled: false, boxSelectionEnabled: false, autoungrabify: true,
      selectionType: "single", pixelRatio: "auto",
    });
    this.cy.on("tap", "node", (event) => this.onChoose(event.target.id()));
    this.cy.on("tap", (event) => { if (event.target === this.cy) this.onChoose(null); });
    this.looks();
    if (!this.places) this.byForces();
    this.place();
    this.legend(facts);
  }

  byForces() {
    const ring = [...this.cy.nodes()].map((node, index, all) => [node.id(), index / all.length]);
    for (const [id, turn] of ring) this.cy.getElementById(id).position({ x: 300 * Math.cos(6.283 * turn), y: 300 * Math.sin(6.283 * turn) });
    this.cy.layout({ name: "cose", randomize: false, animate: false, fit: false, nodeRepulsion: () => 60000, idealEdgeLength: () => 90 }).run();
    const box = this.cy.nodes().boundingBox({ includeLabels: false });
    const flat = (value, from, size) => (size ? (2 * (value - from)) / size - 1 : 0);
    this.places = new Map(this.cy.nodes().map((node) => [node.id(), [flat(node.position("x"), box.x1, box.w), flat(node.position("y"), box.y1, box.h)]]));
  }

  /** Put every node where it belongs in the room there is. */
  place() {
    if (!this.cy || !this.places) return;
    const { clientWidth: w, clientHeight: h } = this.container;
    if (!w || !h) return;
    this.cy.resize();
    const sideways = this.count > MANY ? 30 : Math.min(80, w / 6);
    this.cy.batch(() => {
      for (const [name, [x, y]] of this.places) {
        this.cy.getElementById(name).position({ x: w / 2 + x * (w / 2 - sideways), y: h / 2 + y * (h / 2 - 48) });
      }
    });
    this.cy.viewport({ zoom: 1, pan: { x: 0, y: 0 } });
  }

  /** Take the colours of the page's looks. */
  looks() {
    if (!this.cy) return;
    const size = this.count > CROWD ? 15 : this.count > MANY ? 22 : 30;
    const [ink, soft, paper, up, fault, bad, line] = ["ink", "soft", "paper", "c0", "c1", "bad", "axis"].map(colour);
    const text = { "font-family": font(1).slice(4), "font-size": this.count > MANY ? 10 : 12, color: ink };
    this.cy.style([
      { selector: "node", style: {
        ...text, label: "data(label)", shape: "data(shape)", width: size, height: size, "background-color": paper,
        "border-width": 2, "border-color": soft, "text-valign": "bottom", "text-margin-y": 4, "text-wrap": "wrap",
        "text-outline-color": paper, "text-outline-width": 2, "line-height": 1.15,
      } },
      { selector: "node.upper", style: { "text-valign": "top", "text-margin-y": -4 } }, // away from its links
      { selector: "node.coordinator", style: { width: size * 1.25, height: size * 1.05, "font-weight": "bold" } },
      { selector: "node.switch", style: { width: size * 0.5, height: size * 0.5, "background-color": line, "border-width": 0, color: soft } },
      { selector: "node.up", style: { "background-color": up, "border-color": up } },
      { selector: "node.coordinator.up", style: { "background-color": ink, "border-color": ink } },
      { selector: "node.finished", style: { "background-color": up, "background-opacity": 0.35, "border-color": up } },
      { selector: "node.ready", style: { "border-color": up } },
      { selector: "node.planned", style: { "border-style": "dotted" } },
      { selector: "node.stopped", style: { "border-style": "dashed", color: soft } },
      { selector: "node.faulty", style: { "border-color": fault, "border-width": 4, color: ink, "font-weight": "bold" } },
      { selector: "node.died", style: { "border-color": bad, "border-style": "dashed", "border-width": 4, color: bad } },
      { selector: "node.quiet", style: { label: "" } },
      { selector: "node.chosen", style: { "underlay-color": up, "underlay-opacity": 0.25, "underlay-padding": 9, "font-weight": "bold", label: "data(label)" } },
      { selector: "edge", style: { width: "data(wide)", "line-color": line, "curve-style": "haystack", opacity: 0.85 } },
      { selector: "edge.busy", style: { "line-color": up, opacity: this.count > CROWD ? 0.3 : 0.6 } },
      { selector: "edge.down", style: { "line-style": "dashed", "line-color": line, width: 1.5, "curve-style": "straight", opacity: 0.8 } },
      { selector: "edge.faulty", style: { "line-style": "dashed", "line-color": fault, width: 3, "curve-style": "straight", opacity: 1 } },
      { selector: "edge.chosen", style: { "line-color": ink, opacity: 1 } },
    ]);
  }

  /** Show the run as it was at an instant. */
  draw(run, t) {
    if (!this.cy) return;
    const faults = run.faultsAt(t);
    const struck = new Set(faults.flatMap((fault) => fault.links));
    const cut = new Set(faults.filter((fault) => CUTTING.has(fault.kind)).flatMap((fault) => fault.nodes));
    const rates = run.ratesAt(t);
    const struckNodes = new Set(faults.flatMap((fault) => fault.nodes));
    const crowd = this.count > CROWD;
    const tally = new Map();
    const narrow = this.container.clientWidth < 560;
    let total = 0;
    this.cy.batch(() => {
      for (const node of run.facts.nodes) {
        const is = condition(run, node.name, t, faults);
        if (node.role === "device") tally.set(is.words, [...(tally.get(is.words) ?? []), node.name]);
        const loud = struckNodes.size <= CROWD / 2 && is.kinds.length > 0 || is.state === "died" || this.chosen === node.name;
        const quiet = crowd && !loud && node.role === "device";
        const upper = node.role === "device" && this.places.get(node.name)[1] < -0.1;
        const wanted = [node.role, upper && "upper", is.state, is.kinds.length && "faulty", quiet && "quiet", this.chosen === node.name && "chosen"].filter(Boolean).join(" ");
        const element = this.cy.getElementById(node.name);
        set(element, wanted, { label: this.label(node, is, rates, narrow) });
      }
      for (const pair of this.pairs.values()) {
        const element = this.cy.getElementById(pair.id);
        if (element.empty()) continue;
        const bps = pair.links.reduce((sum, link) => sum + rates(link.id), 0);
        total += bps;
        const ends = [pair.source, pair.target];
        const faulty = ends.some((name) => cut.has(name)) || pair.links.some((link) => struck.has(link.id) || run.stateAt(link.id, t) === "shut");
        const down = ends.some((name) => ["stopped", "died"].includes(run.stateAt(name, t)));
        const chosen = ends.includes(this.chosen);
        const wide = bps ? Math.max(1.2, Math.min(7, 1.6 * Math.log10(bps / 1e4 + 1) + 1) * (crowd ? 0.4 : 1)) : 1;
        set(element, [faulty ? "faulty" : down ? "down" : bps && "busy", chosen && "chosen"].filter(Boolean).join(" "), { wide: Number(wide.toFixed(1)) });
      }
    });
    const states = [...tally].map(([words, names]) => `${names.length} ${words}${names.length <= 6 && words !== "up" ? ` (${names.join(", ")})` : ""}`);
    say(byId("graph-words"), `${run.facts.nodes.length} nodes, ${this.pairs.size} links. At ${seconds(t)}: devices ${states.join("; ")}. Links carry ${rate(total)} in all.`);
    this.detail(run, t, rates, faults);
  }

  label(node, is, rates, narrow) {
    const lines = [node.name];
    if (is.kinds.length) lines.push(is.kinds.join(", "));
    else if (is.state === "died" || is.state === "stopped") lines.push(STATES[is.state]);
    else if (this.count <= MANY && !narrow && node.role === "device" && is.state === "up") {
      const [sent, got] = this.traffic(node.name, rates);
      lines.push(`↑ ${withUnit(sent, "")}  ↓ ${withUnit(got, "")}bit/s`.replaceAll("\u00a0", "").replace("bit/s", "\u00a0bit/s"));
    }
    return lines.join("\n");
  }

  /** What leaves and reaches a node, bit/s. */
  traffic(name, rates) {
    let [sent, got] = [0, 0];
    for (const link of this.links.get(name) ?? []) {
      if (link.source === name) sent += rates(link.id);
      else got += rates(link.id);
    }
    return [sent, got];
  }

  /** The chosen node's links, set and now, below the drawing. */
  detail(run, t, rates, faults) {
    const panel = byId("chosen");
    const node = run.facts.nodes.find((each) => each.name === this.chosen);
    panel.hidden = !node;
    if (!node) return;
    const links = this.links.get(node.name) ?? [];
    const lines = links.slice(0, 8).map((link) => {
      const set = [link.trace ? "rate from a trace" : link.rate_bps ? rate(link.rate_bps) : "rate not limited", link.delay_s !== null && `${seconds(link.delay_s)} one way`, link.loss > 0 && `${percent(link.loss)} loss`];
      const lost = run.drops[link.id];
      return make("li", {}, make("b", {}, link.source === node.name ? `to ${link.target}` : `from ${link.source}`), ` ${rate(rates(link.id))} now · set: ${set.filter(Boolean).join(", ")}${lost ? ` · ${lost} packets dropped so far` : ""}`);
    });
    if (links.length > 8) lines.push(make("li", {}, `and ${links.length - 8} more links`));
    const total = run.nodes[node.name] ?? {};
    const memory = total.memory_bytes ? ` · ${bytes(total.memory_bytes)} of memory` : "";
    panel.replaceChildren(make("p", {}, make("b", {}, node.name), ` ${condition(run, node.name, t, faults).words} · ${node.profile.replaceAll("_", " ")}${memory}`), make("ul", {}, ...lines));
  }

  legend(facts) {
    const item = (sign, words) => make("li", {}, make("span", { class: `sign ${sign}`, "aria-hidden": "true" }), words);
    const groups = this.groups.length > 1 ? this.groups.map((group, index) => item(`shape ${SHAPES[index % SHAPES.length]}`, group)) : [];
    byId("legend").replaceChildren(
      ...groups,
      item("up", "up"), item("ready", "ready"), item("stopped", "stopped"), item("faulty", "in a fault"), item("died", "ended by itself"),
      ...(facts.switches.length ? [item("switch", "switch")] : []),
      item("busy", "link, wider with its rate"), item("cut", "link down or in a fault"),
    );
  }

  /** Mark a node; null for none. */
  choose(name) {
    this.chosen = name;
  }
}

function set(element, classes, data) {
  if (element.scratch("_is") !== classes) {
    element.scratch("_is", classes);
    element.classes(classes);
  }
  for (const [key, value] of Object.entries(data)) {
    if (element.data(key) !== value) element.data(key, value);
  }
}
