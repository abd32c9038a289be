"use strict";
// Tells about the piece of the picture under the pointer, and sorts the table of files. The page says everything without it.
for (const svg of document.querySelectorAll("svg.band")) {
  const caption = svg.nextElementSibling;
  caption.textContent = "Point at a piece to see what it is.";
  const tell = (event) => {
    const rect = event.target.closest("rect");
    const title = rect && rect.querySelector("title");
    if (title) caption.textContent = title.textContent;
  };
  svg.addEventListener("pointermove", tell);
  svg.addEventListener("pointerdown", tell);
}
for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("thead th").forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const numeric = head.classList.contains("n");
      const down = head.ariaSort === "descending" ? false : head.ariaSort === "ascending" ? true : numeric;
      const compare = (a, b) => (numeric ? key(a) - key(b) : key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0);
      const rows = [...table.tBodies[0].rows].sort((a, b) => (down ? compare(b, a) : compare(a, b)));
      table.tBodies[0].append(...rows);
      for (const other of table.querySelectorAll("thead th")) other.ariaSort = null;
      head.ariaSort = down ? "descending" : "ascending";
    });
  });
}
