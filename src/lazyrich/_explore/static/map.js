// The Map view.

export const start = (root) => {
  const title = document.createElement("h2");
  title.textContent = "Map";
  root.replaceChildren(title);
};
