// The time line: one row a fault with what was planned and what was done, and the instant that the page shows.

import { byId, make, say } from "./dom.js";
import { kindWords, seconds } from "./format.js";

const TICKS = 6;

export class Timeline {
  /** `moved(t)` is called when the reader moves the instant, `follow(on)` when the latest is to be followed or not. */
  constructor(moved, follow) {
    this.input = byId("time");
    this.input.addEventListener("input", () => moved(Number(this.input.value)));
    byId("follow").addEventListener("click", () => follow(byId("follow").getAttribute("aria-pressed") !== "true"));
  }

  begin(run) {
    this.rows = run.facts.faults.map((fault) => {
      const whom = fault.nodes.length ? fault.nodes : fault.links;
      const names = whom.length > 4 ? `${whom.slice(0, 3).join(", ")} and ${whom.length - 3} more` : whom.join(", ");
      const planned = make("span", { class: "planned" });
      const acted = make("span", { class: "acted" });
      const said = make("span", { class: "soft" });
      const row = make("li", { title: fault.parameters }, make("p", {}, make("b", {}, kindWords(fault.kind)), ` ${names} `, said), make("div", { class: "track", "aria-hidden": "true" }, planned, acted));
      return { fault, planned, acted, said, row };
    });
    const axis = make("div", { class: "track axis", "aria-hidden": "true" });
    const list = make("ol", { class: "rows" }, ...this.rows.map((each) => each.row));
    this.cursor = make("span", { class: "cursor", "aria-hidden": "true" });
    this.axis = axis;
    this.length = null;
    byId("faults").replaceChildren(make("div", { class: "track cursors", "aria-hidden": "true" }, this.cursor), list, axis);
    if (!this.rows.length) list.replaceWith(make("p", { class: "soft" }, "No faults are planned."));
    byId("faults-key").hidden = !this.rows.length;
  }

  draw(run, t, following) {
    const { length } = run;
    const live = run.status.state === "live";
    byId("follow").setAttribute("aria-pressed", following);
    say(byId("follow"), live ? "Follow" : "To the end");
    if (Number(this.input.max) !== length) this.input.max = length;
    this.input.value = t;
    this.input.setAttribute("aria-valuetext", `${seconds(t)} of ${seconds(length)}`);
    say(byId("clock"), `${seconds(t)} of ${seconds(length)}`);
    this.cursor.style.left = place(t, length);
    for (const { fault, planned, acted, said } of this.rows) {
      const done = run.executed[fault.index] ?? {};
      planned.hidden = fault.at_s === null; // it waits for something: nobody knows when
      if (fault.at_s !== null) span(planned, fault.at_s, fault.heal_s ?? length, length);
      acted.hidden = done.began_s === undefined;
      if (done.began_s !== undefined) span(acted, done.began_s, done.ended_s ?? Math.max(run.now, done.began_s), length);
      acted.classList.toggle("still", done.began_s !== undefined && done.ended_s === undefined);
      const end = fault.heal_s === null ? "for good" : `to ${seconds(fault.heal_s)}`;
      const plan = fault.at_s === null ? "planned for when something has come" : `planned ${seconds(fault.at_s)} ${end}`;
      say(said, `${plan}; ${deeds(done, run)}`);
      said.classList.toggle("bad", done.error !== undefined);
    }
    if (this.length !== length) {
      this.length = length;
      const step = niceStep(length);
      const ticks = [];
      for (let at = 0; at <= length * 1.0001; at += step) {
        const tick = make("span", {}, at ? `${Number(at.toPrecision(6))} s` : "0");
        tick.style.left = place(at, length);
        ticks.push(tick);
      }
      this.axis.replaceChildren(...ticks);
    }
  }
}

function deeds(done, run) {
  if (done.failed_s !== undefined) return `FAILED at ${seconds(done.failed_s)}: ${done.error}`;
  if (done.began_s === undefined) return run.status.state === "live" ? "not yet" : "did not act";
  return `acted ${seconds(done.began_s)} ${done.ended_s === undefined ? "until now" : `to ${seconds(done.ended_s)}`}`;
}

const place = (t, length) => `${(100 * Math.min(1, Math.max(0, t / length))).toFixed(3)}%`;

function span(element, from, to, length) {
  element.style.left = place(from, length);
  element.style.width = `${(100 * Math.max(0.004, (Math.min(to, length) - from) / length)).toFixed(3)}%`;
}

function niceStep(length) {
  const rough = length / TICKS;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough);
}
