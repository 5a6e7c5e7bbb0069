// The texts round the drawings: name, figures, nodes, receipt, parameters, notices.

import { byId, fill, make, say } from "./dom.js";
import { bytes, componentWords, isModelled, joules, percent, rate, seconds, sourceWords } from "./format.js";
import { condition } from "./topology.js";

const SIMULATED = "Accuracy and payload are measured, on real learning; times and bytes on the wire are those of simulated links and computing. Energy is modelled, from the device profiles.";
const REAL = "Accuracy, bytes and times are measured, on real processes; what is emulated is the links and how slow the devices are. Energy is modelled, from the device profiles, unless it is said to be measured.";
const VERDICTS = { met: "✓", missed: "✗", unknown: "?" };

/** What does not change while a run is shown. */
export function drawFacts(run) {
  const { facts } = run;
  document.title = `${facts.name} · Edgebed`;
  say(byId("name"), facts.name);
  say(byId("about"), facts.about);
  const algorithm = facts.parameters.find(([what]) => what === "algorithm")?.[1];
  say(byId("setting"), [algorithm, typeof facts.seed === "number" && `seed ${facts.seed}`].filter(Boolean).join(" · "));
  say(byId("command"), facts.command || "no scenario.yaml in the run directory: the command is not known");
}

/** The run's state in a word: live, silent, or how it ended; `connection` is that of the page. */
export function badge(run, connection) {
  const { state, result, silent_s: silent } = run.status;
  if (state === "ended") return { state: result === "complete" ? "good" : "bad", words: result === "complete" ? "complete" : result };
  if (connection === "lost") return { state: "bad", words: "connection lost" };
  if (state === "silent") return { state: "bad", words: `no result; silent for ${seconds(silent)}` };
  if (state === "live") return { state: "live", words: run.log.some((line) => line.text === "The run began.") ? "live" : "preparing" };
  return { state: "waiting", words: "waiting for the run" };
}

export function drawHead(run, t, connection) {
  const is = badge(run, connection);
  byId("badge").dataset.state = is.state;
  say(byId("badge"), is.words);
  const devices = run.facts.nodes.filter((node) => node.role === "device");
  const up = devices.filter((node) => ["up", "finished"].includes(run.stateAt(node.name, t))).length;
  const accuracy = run.valueAt(run.main, t);
  const round = run.valueAt(run.series.round?.[""] ?? [], t);
  const counted = (family) => Object.keys(run.series[family] ?? {}).reduce((sum, name) => sum + run.countedUntil(family, name, t), 0);
  const parts = Object.keys(run.series.joules ?? {});
  const modelled = parts.filter(isModelled).reduce((sum, part) => sum + run.countedUntil("joules", part, t), 0);
  // What a meter measured is told by itself: neither added to what is modelled nor to what another meter saw.
  const measured = parts.filter((part) => !isModelled(part)).map((part) => {
    const [component, source] = part.split("/");
    return [`energy of ${componentWords(component)}, ${sourceWords(source)}`, joules(run.countedUntil("joules", part, t))];
  });
  const figures = [
    ["accuracy", accuracy === null ? "–" : percent(accuracy)],
    ["payload sent", run.series.payload ? bytes(counted("payload")) : "–"],
    ["sent on the wire", run.series.wire ? bytes(counted("wire")) : "–"],
    ["energy, modelled", modelled ? joules(modelled) : "–"],
    ...measured,
    ["devices up", run.changes.size ? `${up} of ${devices.length}` : `– of ${devices.length}`],
    ...(round === null ? [] : [["round", String(round)]]),
    ["time", `${seconds(t)} of ${seconds(run.length)}`],
  ];
  const list = byId("figures");
  if (list.children.length !== figures.length) list.replaceChildren(...figures.map(() => make("div", {}, make("dt"), make("dd"))));
  figures.forEach(([what, value], index) => {
    say(list.children[index].firstChild, what);
    say(list.children[index].lastChild, value);
  });
  say(document.querySelector("#topology-title .when"), `at ${seconds(t)}`);
}

/** What is wrong with the run or its directory, and whether anybody serves the page any more. */
export function drawNotices(run, connection, served) {
  const notices = [];
  const text = (words, kind) => notices.push([words, kind]);
  if (connection === "lost") text("The server does not answer; trying again. What is shown is what came until now.", "bad");
  if (served === false) text(`This page is no longer served; ${run.status.state === "ended" ? "what is shown is complete" : "what is shown is what came until now"}. To see it again: edgebed serve`, "note");
  for (const problem of run.status.problems) text(problem, "bad");
  if (run.status.state === "silent") text(`Without result.json: the run was killed, or is stuck. Nothing was written for ${seconds(run.status.silent_s)}. All that was written is shown.`, "bad");
  for (const note of run.status.notes) text(note, "note");
  const key = JSON.stringify(notices);
  if (byId("notices").dataset.key === key) return;
  byId("notices").dataset.key = key;
  byId("notices").replaceChildren(...notices.map(([words, kind]) => make("p", { class: `notice ${kind}` }, words)));
}

export function drawNodes(run, t, topology, choose) {
  const faults = run.faultsAt(t);
  const rates = run.ratesAt(t);
  const table = byId("devices");
  const number = (text) => ({ text, class: "number" });
  const rows = run.facts.nodes.map((node) => {
    const is = condition(run, node.name, t, faults);
    const [sent, got] = topology.traffic(node.name, rates);
    const total = run.nodes[node.name] ?? {};
    const accuracy = run.valueAt(run.series.accuracy?.[node.name] ?? [], t);
    return [
      node.name,
      { text: is.words, class: is.kinds.length ? "state faulty" : `state ${is.state}` },
      number(accuracy === null ? "–" : percent(accuracy)),
      number(`${rate(sent)}`), number(`${rate(got)}`),
      number(total.sent_bytes ? bytes(total.sent_bytes) : "–"),
      number(total.joules ? joules(total.joules) : "–"),
      node.profile.replaceAll("_", " "),
    ];
  });
  const heads = ["node", "state", number("accuracy"), number("sends"), number("receives"), number("payload"), number("energy, modelled"), "profile"];
  fill(table, heads, rows);
  [...table.tBodies[0].rows].forEach((row, index) => {
    const { name } = run.facts.nodes[index];
    const cell = row.cells[0];
    if (!cell.querySelector("button")) {
      const button = make("button", { type: "button" });
      button.addEventListener("click", () => choose(button.textContent));
      cell.replaceChildren(button);
    }
    say(cell.firstChild, name);
    cell.firstChild.setAttribute("aria-pressed", topology.chosen === name);
  });
}

export function drawReceipt(run) {
  const { receipt, environment, expectations, state } = run.status;
  const key = JSON.stringify([receipt, environment, expectations, state]);
  const place = byId("receipt");
  if (place.dataset.key === key) return;
  place.dataset.key = key;
  const parts = [];
  const substrate = environment.substrate;
  if (expectations.length) parts.push(make("ul", { class: "verdicts" }, ...expectations.map((each) => make("li", { class: String(each.verdict) }, `${VERDICTS[each.verdict] ?? "?"} expected: ${each.text} – ${each.verdict}`))));
  if (!receipt) parts.push(make("p", { class: "soft" }, "There is no receipt: nothing says that links and computing were as set."));
  else if (receipt.problem) parts.push(make("p", { class: "bad" }, receipt.problem));
  else if (!receipt.rows.length && (substrate === "simulation" || !receipt.pending)) parts.push(make("p", { class: "soft" }, "It is empty: simulated links and computing are as set by construction."));
  else {
    if (receipt.pending) parts.push(make("p", { class: "pending" }, make("strong", {}, state === "live" ? "Pending. " : "Not finished. "), pendingWords(receipt, state)));
    const table = make("table");
    const mark = (ok) => (ok === null ? { text: "–", class: "mark" } : ok ? { text: "✓", class: "mark met" } : { text: "✗", class: "mark missed" });
    fill(table, [{ text: "what", class: "wraps" }, "", "set", { text: "found", class: "wraps" }, "worst error", "where"], receipt.rows.map((row) => [row.what, mark(row.ok), row.set, row.found, row.error, row.worst || row.where]));
    const failed = receipt.rows.filter((row) => row.ok === false).length;
    const compared = receipt.rows.filter((row) => row.ok !== null).length;
    if (compared) parts.push(make("p", {}, failed ? `${failed} of ${receipt.rows.length} kinds of checks are out of tolerance.` : receipt.pending ? "All within tolerance so far." : "All within tolerance."));
    if (receipt.rows.length) parts.push(make("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-labelledby": "receipt-title" }, table));
  }
  if (substrate) parts.push(make("p", { class: "soft small" }, substrate === "simulation" ? SIMULATED : REAL));
  place.replaceChildren(...parts);
}

/** What of a receipt is known so far, and when the rest comes. */
function pendingWords(receipt, state) {
  const measured = receipt.rows.some((row) => row.ok !== null);
  if (state !== "live") return measured ? "The run has no end: what was measured before it is here, nothing of what was watched during it." : "The run has no end: this is what was set, and nothing of it was measured.";
  if (measured) return "Links were measured before the run, with real packets. Lateness of packets, waiting for a core and the time of local steps are watched now and compared when the run ends.";
  return receipt.rows.length ? "This is what was set; what was found comes when the links have been measured, and of computing when the run ends." : "Links were not measured before the run; what is watched during it comes when it ends.";
}

export function drawParameters(run) {
  const { facts, status } = run;
  const rows = facts.parameters.map(([what, name, details]) => [what, name, details]);
  const about = { substrate: "lives on", shaper: "links made by", run_id: "run id", commit: "commit", cpu: "processor", cores: "cores", kernel: "kernel", python: "Python" };
  for (const [key, words] of Object.entries(about)) {
    if (status.environment[key] !== undefined) rows.push([words, String(status.environment[key]), ""]);
  }
  if (status.environment.packages) rows.push(["packages", Object.entries(status.environment.packages).map(([name, version]) => `${name} ${version}`).join(", "), ""]);
  const key = JSON.stringify(rows);
  const list = byId("parameters");
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...rows.flatMap(([what, name, details]) => [make("dt", {}, what), make("dd", {}, name, ...(details ? [make("span", { class: "soft" }, ` ${details}`)] : []))]));
}
