// Elements made by script.

// An element with properties (ARIA ones as attributes) and children.
export function element(tag, properties, children = []) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    const aria = /^aria([A-Z]\w*)$/.exec(name);
    if (aria) made.setAttribute(`aria-${aria[1].toLowerCase()}`, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}
