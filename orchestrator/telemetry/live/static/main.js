// The page: one run, shown as it was at one instant, which follows the latest until the reader moves it.

import { Curves } from "./curves.js";
import { byId, make, say } from "./dom.js";
import { listen } from "./feed.js";
import { Log } from "./log.js";
import { onLooks } from "./looks.js";
import { drawFacts, drawHead, drawNodes, drawNotices, drawParameters, drawReceipt } from "./panels.js";
import { Run } from "./state.js";
import { Timeline } from "./timeline.js";
import { Topology } from "./topology.js";

const OTHERS_EVERY_MS = 5000;

const page = {
  run: new Run(), runs: [], key: null, stop: () => {}, connection: "connecting", served: true,
  at: null, // the instant shown; null: the latest
  version: 0, // counts updates, so that charts know whether their data are new
  asked: false, // whether a frame is asked for
};
const curves = new Curves();
const topology = new Topology(choose);
const timeline = new Timeline((t) => { page.at = t >= page.run.length ? null : t; redraw(); }, (on) => { page.at = on ? null : shownTime(); redraw(); });
const log = new Log(() => redraw());

const shownTime = () => (page.at === null ? Math.min(page.run.now, page.run.length) : Math.min(page.at, page.run.length));

/** Draw once in the next frame, however much has changed. */
function redraw() {
  if (page.asked) return;
  page.asked = true;
  requestAnimationFrame(() => {
    page.asked = false;
    const { run } = page;
    drawNotices(run, page.connection, page.served);
    if (!run.facts) return;
    const t = shownTime();
    drawHead(run, t, page.connection);
    topology.draw(run, t);
    timeline.draw(run, t, page.at === null);
    curves.draw(run, t, page.version);
    drawNodes(run, t, topology, choose);
    log.draw(run, t);
    drawReceipt(run);
    drawParameters(run);
    document.body.dataset.version = page.version;
  });
}

function take(update) {
  const { run } = page;
  const before = new Set(Object.entries(run.executed).flatMap(([index, done]) => [done.began_s !== undefined && `${index} began`, done.ended_s !== undefined && `${index} ended`]));
  const was = run.status.state;
  run.apply(update);
  page.version += 1;
  if (update.facts) {
    drawFacts(run);
    topology.begin(run);
    timeline.begin(run);
  } else {
    announce(run, before, was);
  }
  redraw();
}

/** Say what a reader who cannot see the drawing would miss: faults that begin and end, and the end of the run. */
function announce(run, before, was) {
  const said = [];
  for (const fault of run.facts.faults) {
    const done = run.executed[fault.index] ?? {};
    const whom = [...fault.nodes, ...fault.links].slice(0, 4).join(", ");
    if (done.began_s !== undefined && !before.has(`${fault.index} began`)) said.push(`${fault.kind} of ${whom} began`);
    if (done.ended_s !== undefined && !before.has(`${fault.index} ended`)) said.push(`${fault.kind} of ${whom} ended`);
  }
  if (was !== "ended" && run.status.state === "ended") said.push(`the run ended: ${run.status.result}`);
  if (said.length) say(byId("announce"), said.join("; "));
}

function choose(name) {
  topology.choose(topology.chosen === name ? null : name);
  redraw();
}

/** The runs there are: of a comparison one may pick; at first the one that lasts, else the first. */
function list(runs) {
  page.runs = runs;
  byId("picker").hidden = runs.length < 2;
  const chosen = byId("runs");
  chosen.replaceChildren(...runs.map((run) => make("option", { value: run.key, selected: run.key === page.key }, run.label + (run.ended ? "" : " (not ended)"))));
  if (runs.length && !runs.some((run) => run.key === page.key)) show((runs.find((run) => !run.ended) ?? runs[0]).key);
  fetchOthers();
}

function show(key) {
  page.stop();
  page.key = key;
  page.run = new Run();
  page.at = null;
  topology.choose(null);
  history.replaceState(null, "", `#${encodeURIComponent(key)}`);
  byId("runs").value = key;
  page.stop = listen(key, {
    runs: (runs) => { if (JSON.stringify(runs) !== JSON.stringify(page.runs)) list(runs); },
    update: take,
    state: (state) => { page.connection = state; redraw(); },
    ended: (served) => { page.served = served; redraw(); },
  });
  fetchOthers();
}

/** The accuracy of the comparison's other runs: of those that have ended once, of those that last again and again. */
async function fetchOthers() {
  if (page.runs.length < 2 || page.fetching) return;
  page.fetching = true;
  const short = shorten(page.runs.map((run) => run.label));
  for (const [index, run] of page.runs.entries()) {
    const known = curves.runs.find((each) => each.key === run.key);
    if (known?.ended) continue;
    try {
      const answer = await fetch(`api/runs/${encodeURIComponent(run.key)}/accuracy`);
      if (answer.ok) curves.runs = [...curves.runs.filter((each) => each.key !== run.key), { ...(await answer.json()), key: run.key, ended: run.ended, short: short[index] }];
    } catch {
      break; // the server is gone: the page says so elsewhere
    }
  }
  const order = page.runs.map((run) => run.key);
  curves.runs = curves.runs.map((run) => ({ ...run, current: run.key === page.key })).sort((a, b) => order.indexOf(a.key) - order.indexOf(b.key));
  page.version += 1;
  page.fetching = false;
  redraw();
}

/** Labels without the words that all of them have, and without what is before the equals sign. */
function shorten(labels) {
  const words = labels.map((label) => label.split(/\s+/));
  return words.map((own, index) => own.filter((word) => !words.every((each) => each.includes(word))).map((word) => word.split("=").at(-1)).join(" ") || labels[index]);
}

byId("runs").addEventListener("change", (event) => show(event.target.value));
byId("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText(byId("command").textContent);
  say(byId("copy"), "Copied");
  setTimeout(() => say(byId("copy"), "Copy"), 2000);
});
addEventListener("keydown", (event) => { if (event.key === "Escape" && topology.chosen) choose(topology.chosen); });
onLooks(() => { curves.looks(); topology.looks(); redraw(); });
setInterval(() => { if (page.served && page.runs.some((run) => !run.ended)) fetchOthers(); }, OTHERS_EVERY_MS);

async function begin() {
  const asked = decodeURIComponent(location.hash.slice(1));
  try {
    page.runs = await (await fetch("api/runs")).json();
  } catch {
    page.connection = "lost";
    redraw();
  }
  if (page.runs.some((run) => run.key === asked)) show(asked);
  if (page.runs.length) list(page.runs);
  else setTimeout(begin, 1000); // the run has not made its directory yet
}
begin();
