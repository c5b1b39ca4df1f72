// The Lab.

export const start = async (root, app) => {
  const title = document.createElement("h2");
  title.textContent = "Lab";
  const list = document.createElement("ul");
  list.id = "experiments";
  root.replaceChildren(title, list);
  const { experiments } = await app.socket.ask("lab.list");
  for (const { name } of experiments) {
    const item = document.createElement("li");
    item.textContent = name;
    list.append(item);
  }
};
