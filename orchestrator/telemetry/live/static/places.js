// Where nodes are drawn, in a square from -1 to 1: as the plan says, else round the middle, else by their links.

/** Places by name; null for those graphs that are better laid out by forces. */
export function places(facts) {
  const names = [...facts.nodes.map((node) => node.name), ...facts.switches];
  return onTheMap(facts) ?? ring(names, facts) ?? tree(names, facts);
}

/** Devices whose positions in metres the plan knows, to scale; who has none stands in the middle. */
function onTheMap(facts) {
  const known = facts.nodes.filter((node) => node.place);
  if (!known.length || facts.nodes.some((node) => node.role === "device" && !node.place)) return null;
  const [xs, ys] = [0, 1].map((axis) => known.map((node) => node.place[axis]));
  const middle = [xs, ys].map((values) => (Math.min(...values) + Math.max(...values)) / 2);
  const half = Math.max(...[xs, ys].map((values) => (Math.max(...values) - Math.min(...values)) / 2), 1e-9);
  const found = new Map(facts.switches.map((name) => [name, [0, 0]]));
  for (const node of facts.nodes) {
    found.set(node.name, node.place ? node.place.map((value, axis) => (value - middle[axis]) / half) : [0, 0]);
  }
  return found;
}

function neighbours(names, facts) {
  const found = new Map(names.map((name) => [name, new Set()]));
  for (const { source, target } of facts.links) {
    found.get(source)?.add(target);
    found.get(target)?.add(source);
  }
  return found;
}

function ring(names, facts) {
  const around = neighbours(names, facts);
  if (names.length < 3 || names.some((name) => around.get(name).size !== 2)) return null;
  const order = [names[0]];
  while (order.length < names.length) {
    const next = [...around.get(order.at(-1))].find((name) => !order.includes(name));
    if (next === undefined) return null;
    order.push(next);
  }
  return new Map(order.map((name, index) => [name, onCircle(index / order.length, 1)]));
}

/** A tree round its root: the coordinator, else the node with most links. Null if the graph is no tree. */
function tree(names, facts) {
  const around = neighbours(names, facts);
  const edges = [...around.values()].reduce((sum, each) => sum + each.size, 0) / 2;
  if (edges !== names.length - 1) return null;
  const coordinator = facts.nodes.find((node) => node.role === "coordinator")?.name;
  const most = [...names].sort((a, b) => around.get(b).size - around.get(a).size)[0];
  const root = facts.switches.length && around.get(coordinator)?.size === 1 ? most : coordinator ?? most;
  const depth = new Map([[root, 0]]);
  const children = new Map(names.map((name) => [name, []]));
  const order = [root];
  for (const name of order) {
    for (const next of around.get(name)) {
      if (depth.has(next)) continue;
      depth.set(next, depth.get(name) + 1);
      children.get(name).push(next);
      order.push(next);
    }
  }
  if (order.length < names.length) return null;
  const leaves = new Map();
  for (const name of [...order].reverse()) {
    leaves.set(name, children.get(name).reduce((sum, child) => sum + leaves.get(child), 0) || 1);
  }
  const deepest = Math.max(...depth.values(), 1);
  const found = new Map([[root, [0, 0]]]);
  const spread = (name, from, share) => {
    let at = from;
    children.get(name).forEach((child, index) => {
      const part = (share * leaves.get(child)) / leaves.get(name);
      // Many on one circle stand in two or three rows, so that they do not touch.
      const rows = children.get(name).length > 60 ? 3 : children.get(name).length > 24 ? 2 : 1;
      const radius = depth.get(child) / deepest - ((index % rows) * 0.24) / deepest;
      found.set(child, onCircle(at + part / 2, radius));
      spread(child, at, part);
      at += part;
    });
  };
  spread(root, -0.5 / (children.get(root).length || 1), 1);
  return found;
}

function onCircle(turn, radius) {
  const angle = 2 * Math.PI * turn - Math.PI / 2;
  return [radius * Math.cos(angle), radius * Math.sin(angle)];
}
