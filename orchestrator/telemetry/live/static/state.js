// What is known of the run that is shown. Updates are states, not differences: to apply one twice does no harm.

/** All that the server has told; `apply` takes its updates. */
export class Run {
  constructor() {
    this.facts = null;
    this.status = { state: "waiting", problems: [], notes: [], expectations: [], environment: {}, receipt: null };
    this.clear();
  }

  clear() {
    this.now = 0;
    this.series = {};
    this.main = [];
    this.nodes = {};
    this.drops = {};
    this.executed = {};
    this.log = [];
    this.lost = 0; // lines of the log that the server left out
    this.changes = new Map(); // node or link -> [[t, state], ...] in order of time
    this.changeCount = 0;
  }

  apply(update) {
    if (update.facts) {
      this.clear();
      this.facts = update.facts;
    }
    if (update.status) this.status = update.status;
    this.now = update.now_s ?? this.now;
    for (const [family, members] of Object.entries(update.series ?? {})) {
      const known = (this.series[family] ??= {});
      for (const [name, [first, ...values]] of Object.entries(members)) {
        const bins = (known[name] ??= []);
        while (bins.length < first) bins.push(null);
        values.forEach((value, offset) => { bins[first + offset] = value; });
      }
    }
    if (update.main) this.main = update.main;
    Object.assign(this.nodes, update.nodes);
    Object.assign(this.drops, update.drops);
    Object.assign(this.executed, update.executed);
    if (update.log) {
      if (!this.log.length) this.lost = update.log.from;
      this.log.splice(update.log.from - this.lost, Infinity, ...update.log.items);
    }
    if (update.changes) {
      for (const [t, name, state] of update.changes.items.slice(Math.max(0, this.changeCount - update.changes.from))) {
        if (!this.changes.has(name)) this.changes.set(name, []);
        this.changes.get(name).push([t, state]);
      }
      this.changeCount = Math.max(this.changeCount, update.changes.from + update.changes.items.length);
    }
  }

  /** Seconds from the run's begin to the end of its time line. */
  get length() {
    const planned = this.facts?.stop_after_s || 0;
    if (this.status.state === "ended" && this.status.lasted_s) return this.status.lasted_s;
    return Math.max(planned, planned ? 0 : this.now, 1e-3);
  }

  /** Whether an instant is the latest there is: then what came after the end, as last evaluations do, counts too. */
  isLatest(t) {
    return t >= Math.min(this.now, this.length);
  }

  /** The state of a node at an instant: planned, ready, up, finished, stopped, died; of a link: open or shut. */
  stateAt(name, t) {
    const changes = this.changes.get(name) ?? [];
    let state = null;
    for (const [at, is] of changes) {
      if (at > t) break;
      state = is;
    }
    return state;
  }

  /** Faults in force at an instant. */
  faultsAt(t) {
    return (this.facts?.faults ?? []).filter((fault) => {
      const done = this.executed[fault.index];
      return done?.began_s !== undefined && done.began_s <= t && !(done.ended_s <= t);
    });
  }

  /** Sum of a counted series' bins until an instant. */
  countedUntil(family, name, t) {
    const last = this.binAt(t);
    let sum = 0;
    (this.series[family]?.[name] ?? []).forEach((value, index) => { if (index <= last) sum += value ?? 0; });
    return sum;
  }

  binAt(t) {
    return this.isLatest(t) ? Infinity : Math.floor(t / this.facts.count_s);
  }

  /** The last value of a curve at or before an instant; null if there is none. */
  valueAt(bins, t) {
    let index = Math.min(bins.length - 1, this.isLatest(t) ? Infinity : Math.floor(t / this.facts.curve_s));
    while (index >= 0 && bins[index] == null) index -= 1;
    return index < 0 ? null : bins[index];
  }

  /** What links delivered in the interval of the counters that an instant lies in: a function of a link's id, bit/s. */
  ratesAt(t) {
    const index = Math.min(this.lastSample(), this.binAt(t));
    return (link) => (8 * (this.series.link?.[link]?.[index] ?? 0)) / this.facts.count_s;
  }

  /** The last interval of the counters that is over, over all links. */
  lastSample() {
    const links = Object.values(this.series.link ?? {});
    return links.reduce((most, bins) => Math.max(most, bins.length), 0) - 1;
  }
}
