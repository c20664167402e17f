// Evaluated in a page: what overlaps, what leaves its box, what is cut off without a sign.

() => {
  const SLACK = 1.5; // pixels of rounding
  const faults = [];
  const words = (element) => `${element.tagName.toLowerCase()}${element.id && `#${element.id}`}.${[...element.classList].join(".")} ${JSON.stringify((element.textContent || element.name || "").trim().slice(0, 40))}`;
  const style = (element) => getComputedStyle(element);
  const scrolls = (element) => ["auto", "scroll"].includes(style(element).overflowX);
  const seen = (element) => element.checkVisibility({ visibilityProperty: true }) && !element.closest(".unseen, .to-content, svg, option, noscript") && !(element.closest("details:not([open])") && !element.closest("summary"));

  /** Whether a line is not scrolled out of sight, in a region that scrolls up and down. */
  const inSight = (element, box) => {
    const region = element.closest("pre");
    const room = region?.getBoundingClientRect();
    return !room || (box.top >= room.top - SLACK && box.bottom <= room.bottom + SLACK);
  };

  // What is drawn: controls and pictures as their boxes, texts as the boxes of their lines.
  const drawn = [];
  for (const element of document.body.querySelectorAll("input, select, textarea, button, img, progress, svg")) {
    if (element.matches(".unseen") || !(element.matches("svg") ? element.checkVisibility() && !element.parentElement.closest("svg") && !(element.closest("details:not([open])") && !element.closest("summary")) : seen(element))) continue;
    if (element.matches("svg") && element.closest("button, a, label, th, p, .chip")) continue; // an icon in a line
    drawn.push({ element, boxes: [element.getBoundingClientRect()] });
  }
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = texts.nextNode()); ) {
    const element = node.parentElement;
    if (!node.data.trim() || !seen(element) || element.closest("select, script, style, button")) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    drawn.push({ element, boxes: [...range.getClientRects()].filter((box) => box.width > 1 && box.height > 1 && inSight(element, box)) });
  }

  // Nothing leaves a box around it, unless that one scrolls; what scrolls says so.
  for (const { element, boxes } of drawn)
    for (const box of boxes) {
      let inside = true;
      for (let around = element.parentElement; around && inside; around = around.parentElement) {
        if (scrolls(around)) {
          inside = false;
          if (around.scrollWidth > around.clientWidth + SLACK && !around.dataset.more) faults.push(`cut off without a sign: ${words(around)}`);
          continue;
        }
        if (["inline", "contents"].includes(style(around).display)) continue;
        const room = around.getBoundingClientRect();
        if (box.left < room.left - SLACK || box.right > room.right + SLACK) {
          faults.push(`leaves ${words(around)}: ${words(element)} by ${Math.round(Math.max(room.left - box.left, box.right - room.right))} px`);
          inside = false;
        }
      }
    }

  // Controls show their text.
  for (const element of document.body.querySelectorAll("button, .tag"))
    if (seen(element) && element.scrollWidth > element.clientWidth + SLACK && element.clientWidth) faults.push(`does not show all of itself: ${words(element)}`);

  // Nothing lies on something else, but on what it is in.
  const flat = drawn.flatMap(({ element, boxes }) => boxes.map((box) => ({ element, box }))).sort((a, b) => a.box.top - b.box.top);
  for (let i = 0; i < flat.length; i++)
    for (let j = i + 1; j < flat.length && flat[j].box.top < flat[i].box.bottom - SLACK; j++) {
      const [a, b] = [flat[i], flat[j]];
      if (a.element.contains(b.element) || b.element.contains(a.element)) continue;
      if (a.element.closest(".bar") !== b.element.closest(".bar")) continue; // it stays in sight while the page scrolls
      const across = Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left);
      const down = Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top);
      if (across > SLACK && down > 4) faults.push(`overlap by ${Math.round(across)} x ${Math.round(down)} px: ${words(a.element)} and ${words(b.element)}`);
    }
  if (document.documentElement.scrollWidth > innerWidth + SLACK) faults.push(`the page is ${document.documentElement.scrollWidth} px wide`);
  return [...new Set(faults)];
}
