// The Inside view.

export const start = (root) => {
  const title = document.createElement("h2");
  title.textContent = "Inside";
  root.replaceChildren(title);
};
