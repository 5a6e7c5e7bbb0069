// Making and changing elements; text is set as text, never as HTML.

/** An element with attributes and children (elements or texts). */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Set a text only where it changes: nothing is laid out anew for nothing. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Make a table of what it should hold, keeping the cells that stay; cells are texts or {text, class, share}. */
export function fill(table, heads, rows) {
  const key = heads.map((head) => head.text ?? head).join("|");
  if (table.dataset.heads !== key) {
    table.dataset.heads = key;
    const row = make("tr", {}, ...heads.map((head) => make("th", { scope: "col", class: head.class }, head.text ?? head)));
    table.replaceChildren(make("thead", {}, row), make("tbody"));
  }
  const body = table.tBodies[0];
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((cells, index) => {
    const row = body.rows[index] ?? body.insertRow();
    cells.forEach((cell, column) => {
      const given = typeof cell === "object" ? cell : { text: cell };
      let element = row.cells[column];
      if (!element) {
        element = column ? make("td") : make("th", { scope: "row" });
        row.append(element);
      }
      if (given.share !== undefined) {
        if (!element.firstElementChild) element.append(make("span", { class: "bar", "aria-hidden": "true" }));
        element.firstElementChild.style.width = `${(100 * given.share).toFixed(1)}%`;
        if (given.colour) element.firstElementChild.style.background = given.colour;
      } else {
        if (element.firstElementChild?.className === "bar") element.replaceChildren();
        say(element, given.text);
      }
      const wanted = given.class ?? heads[column].class ?? "";
      if (element.className !== wanted) element.className = wanted;
    });
  });
}
