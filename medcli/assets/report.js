for (const head of document.querySelectorAll("thead th")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener("click", () => {
    const column = head.cellIndex;
    const body = head.closest("table").tBodies[0];
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const number = (row) => parseFloat(row.cells[column].textContent.replace(/,/g, ""));
    const text = (row) => row.cells[column].textContent;
    const numeric = head.classList.contains("number");
    const order = (a, b) => numeric
      ? (isNaN(number(a)) - isNaN(number(b))) || (up ? 1 : -1) * (number(a) - number(b))
      : (up ? 1 : -1) * text(a).localeCompare(text(b), undefined, { numeric: true });
    body.append(...[...body.rows].sort(order));
  });
}
