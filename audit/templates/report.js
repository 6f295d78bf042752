"use strict";
// Sorting, filtering, search and keys. Everything can be read without this.
(() => {
  const table = document.getElementById("table");
  if (table) {
    const controls = document.getElementById("controls");
    const search = document.getElementById("q");
    const choice = document.getElementById("status");
    const count = document.getElementById("count");
    const none = document.getElementById("none");
    const body = table.tBodies[0];
    const rows = Array.from(body.rows);
    const keys = Array.from(document.querySelectorAll("[data-filter]"));
    const texts = rows.map((row) => row.textContent.toLowerCase());
    const order = Array.from(choice.options, (option) => option.value);
    controls.hidden = false;

    const apply = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, index) => {
        const fits =
          (!choice.value || row.dataset.s === choice.value) &&
          words.every((word) => texts[index].includes(word));
        row.hidden = !fits;
        shown += fits;
      });
      none.hidden = shown > 0;
      count.textContent = controls.dataset.shown
        .replace("{shown}", shown.toLocaleString())
        .replace("{total}", rows.length.toLocaleString());
      for (const key of keys) {
        if (choice.value && key.dataset.filter === choice.value) {
          key.setAttribute("aria-current", "true");
        } else {
          key.removeAttribute("aria-current");
        }
      }
    };

    let waiting = 0;
    search.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(apply, 120);
    });
    choice.addEventListener("change", apply);
    for (const key of keys) {
      key.addEventListener("click", (event) => {
        event.preventDefault();
        choice.value = choice.value === key.dataset.filter ? "" : key.dataset.filter;
        apply();
        document.getElementById("all").scrollIntoView();
      });
    }

    const compare = new Intl.Collator(document.documentElement.lang, { numeric: true }).compare;
    Array.from(table.tHead.rows[0].cells).forEach((cell, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = cell.textContent;
      button.title = controls.dataset.sort;
      cell.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = cell.getAttribute("aria-sort") === "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        cell.setAttribute("aria-sort", down ? "descending" : "ascending");
        const value = (row) =>
          column === 1 ? order.indexOf(row.dataset.s) : row.cells[column].textContent;
        const sign = down ? -1 : 1;
        const sorted = rows
          .map((row, index) => [value(row), index, row])
          .sort((a, b) => {
            if (a[0] === b[0]) return a[1] - b[1];
            if (a[0] === "") return 1; // what is not known comes last either way
            if (b[0] === "") return -1;
            return sign * (column === 1 ? a[0] - b[0] : compare(a[0], b[0]));
          });
        body.append(...sorted.map((item) => item[2]));
      });
    });
    apply();
  }

  const top = () => {
    // A page opens at its top, and a reader's voice begins there.
    const page = document.querySelector(".picture:target");
    if (page) {
      scrollTo(0, 0);
      page.tabIndex = -1;
      page.focus({ preventScroll: true });
    }
  };
  addEventListener("hashchange", top);
  top();

  addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    const page = document.querySelector(".picture:target");
    const pick = { ArrowRight: "[rel=next]", ArrowLeft: "[rel=prev]" }[event.key];
    if (page && pick) page.querySelector(pick)?.click();
    if (page && event.key === "Escape") location.hash = "all";
  });

  addEventListener("beforeprint", () => {
    for (const item of document.querySelectorAll(".glossary")) item.open = true;
  });
})();
