// The products selected on the map, as a grid of pictures with a button for more.

const PAGE = 48;

/**
 * @param {HTMLElement} page
 * @param {number[]} indices
 * @param {{name: (index: number) => string, image: (index: number) => string, href: (index: number) => string}} of
 */
export function fillGrid(page, indices, of) {
  const section = page.querySelector("[data-map-selection]");
  const title = page.querySelector("#selection-title");
  const grid = page.querySelector("[data-map-grid]");
  const more = page.querySelector("[data-map-more]");
  if (!(section instanceof HTMLElement) || !title || !grid || !(more instanceof HTMLButtonElement)) return;
  section.hidden = indices.length === 0;
  title.textContent = `${indices.length.toLocaleString("en")} ${indices.length === 1 ? "product" : "products"} selected`;
  grid.replaceChildren();
  const add = () => {
    const from = grid.childElementCount;
    grid.append(...indices.slice(from, from + PAGE).map((index) => tile(index, of)));
    more.hidden = grid.childElementCount >= indices.length;
  };
  more.onclick = add;
  add();
}

/**
 * @param {number} index
 * @param {{name: (index: number) => string, image: (index: number) => string, href: (index: number) => string}} of
 */
function tile(index, of) {
  const item = document.createElement("li");
  item.className = "tile";
  const box = document.createElement("span");
  box.className = "picture";
  const picture = document.createElement("img");
  picture.alt = "";
  picture.width = 168;
  picture.height = 224;
  picture.loading = "lazy";
  picture.decoding = "async";
  picture.src = of.image(index);
  box.append(picture);
  const link = document.createElement("a");
  link.className = "tile-name lines-2";
  link.href = of.href(index);
  link.textContent = of.name(index);
  item.append(box, link);
  return item;
}
