// The Tour view.

export const start = (root) => {
  const title = document.createElement("h2");
  title.textContent = "Tour";
  root.replaceChildren(title);
};
