// The log of events, with filters by kind and by words.

import { byId, make, say } from "./dom.js";

const KINDS = { fault: "faults", problem: "problems", node: "nodes", link: "links", run: "run" };
const MOST_SHOWN = 400;

export class Log {
  constructor(redraw) {
    this.kinds = new Set(Object.keys(KINDS));
    for (const [kind, words] of Object.entries(KINDS)) {
      const box = make("input", { type: "checkbox", checked: true, value: kind });
      box.addEventListener("change", () => {
        if (box.checked) this.kinds.add(kind);
        else this.kinds.delete(kind);
        redraw();
      });
      byId("kinds").append(make("label", { class: `kind ${kind}` }, box, ` ${words}`));
    }
    byId("words").addEventListener("input", redraw);
    this.shown = "";
  }

  /** Show the lines until an instant, the newest first. */
  draw(run, t) {
    const words = byId("words").value.toLowerCase().split(/\s+/).filter(Boolean);
    const until = run.isLatest(t) ? Infinity : t;
    const found = run.log.filter((line) => line.t <= until && this.kinds.has(line.kind) && words.every((word) => line.text.toLowerCase().includes(word)));
    const key = `${run.log.length} ${found.length} ${[...this.kinds]} ${words} ${found.at(-1)?.t} ${run.facts.name}`;
    if (key === this.shown) return;
    this.shown = key;
    const some = found.slice(-MOST_SHOWN).reverse();
    byId("log").replaceChildren(...some.map((line) => make("li", { class: line.kind }, make("time", {}, `${line.t.toFixed(2)}\u00a0s`), make("span", {}, line.text))));
    const lost = run.lost ? `; ${run.lost} older ones are in events.jsonl alone` : "";
    say(byId("log-count"), `${some.length} of ${run.log.length} events shown${lost}`);
  }
}
