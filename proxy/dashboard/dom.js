// dom.js: making and filling elements. Data becomes text, never markup.

export const byId = (id) => document.getElementById(id);

// make("p", {className: "x"}, "text", element, …)
export function make(name, properties, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Changes nothing where nothing changed: readers that announce changes stay quiet.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Rows that stay are kept, so that nothing that is selected or has the focus goes. `rows`: {key, cells}, a cell is a
// text, {text, mark}: a coloured mark, or {text, press}: a button. The columns' classes are those of the head.
export function fillTable(table, rows) {
  const body = table.tBodies[0];
  const classes = [...table.tHead.rows[0].cells].map((cell) => cell.className);
  const former = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  rows.forEach(({ key, cells }, index) => {
    const row = former.get(key) ?? makeRow(key, classes);
    former.delete(key);
    cells.forEach((cell, i) => fillCell(row.cells[i], cell));
    if (body.rows[index] !== row) body.insertBefore(row, body.rows[index] ?? null);
  });
  for (const row of former.values()) row.remove();
  table.hidden = rows.length === 0;
  table.nextElementSibling.hidden = rows.length > 0;
}

function makeRow(key, classes) {
  const row = make("tr", {}, ...classes.map((className) => make("td", { className })));
  row.dataset.key = key;
  return row;
}

function fillCell(cell, content) {
  if (typeof content === "string") {
    setText(cell, content);
    return;
  }
  if (cell.firstElementChild === null) cell.replaceChildren(make(content.press ? "button" : "span", {}));
  const inner = cell.firstElementChild;
  if (content.press) Object.assign(inner, { type: "button", onclick: content.press });
  else inner.className = `mark ${content.mark}`;
  setText(inner, content.text);
}
