// Tables of class "sortable" get a filter, and headings that sort. Without scripts they are plain tables.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells], rows = [...body.rows];
  const collator = new Intl.Collator("en", { numeric: true });
  const textOf = (row, column) => row.cells[column].textContent.trim();

  // Numbers by value, other text by letters; cells without a value come last in both directions.
  function sortBy(column, sign) {
    const isNumeric = heads[column].classList.contains("n");
    const keyed = rows.map((row) => {
      const text = textOf(row, column), number = isNumeric ? parseFloat(text) : NaN;
      return { row, text, number, isVoid: isNumeric ? Number.isNaN(number) : text === "-" || text === "" };
    });
    keyed.sort((a, b) => a.isVoid - b.isVoid
      || (a.isVoid ? 0 : sign * (isNumeric ? a.number - b.number : collator.compare(a.text, b.text))));
    heads.forEach((head, i) => (i === column
      ? head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending")
      : head.removeAttribute("aria-sort")));
    body.append(...keyed.map((one) => one.row));
  }

  // A row stays if it holds every word, anywhere.
  function filterBy(words) {
    let num = 0;
    for (const row of rows) {
      const text = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      num += !row.hidden;
    }
    count.textContent = `${num} of ${rows.length} rows`;
  }

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => {
      const first = head.classList.contains("n") ? "descending" : "ascending";
      const now = head.getAttribute("aria-sort");
      const isUp = now === null ? first === "ascending" : now === "descending";
      sortBy(column, isUp ? 1 : -1);
    });
    head.replaceChildren(button);
  });

  const controls = document.createElement("div"), label = document.createElement("label");
  const input = document.createElement("input"), select = document.createElement("select");
  const count = document.createElement("output");
  controls.className = "controls";
  input.type = "search";
  label.append("Filter: ", input);
  input.addEventListener("input", () => filterBy(input.value.toLowerCase().split(/\s+/).filter(Boolean)));
  select.setAttribute("aria-label", "Sort by");
  select.append(new Option("sort by", ""));
  heads.forEach((head, column) => select.append(new Option(head.textContent, column)));
  select.addEventListener("change", () => {
    if (select.value !== "") sortBy(+select.value, heads[+select.value].classList.contains("n") ? -1 : 1);
  });
  if (rows.length > 12) controls.append(label);
  controls.append(select, count);
  table.parentElement.before(controls);
}
