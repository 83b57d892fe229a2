// Run in a report's page by report_test.py: what is drawn, and how well each text stands out from what is behind it.
const rgb = text => (text.match(/[\d.]+/g) || []).map(Number);
const light = c => { const p = c.slice(0, 3).map(v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
                     return 0.2126 * p[0] + 0.7152 * p[1] + 0.0722 * p[2]; };
const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((m, n) => n - m); return (x + 0.05) / (y + 0.05); };
const ground = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
                                                       if (c.length === 3 || c[3] > 0) return c; } return [255, 255, 255]; };
const faint = [], cards = [];
let texts = 0, labels = 0;
for (const card of document.querySelectorAll("figure.card")) {
  const box = card.querySelector("svg").getBoundingClientRect();
  const marks = [...card.querySelectorAll("svg path, svg use")].filter(m => { const b = m.getBoundingClientRect(); return b.width + b.height > 0; });
  cards.push({title: card.querySelector("b").textContent, section: card.closest("section").id, width: box.width, height: box.height, marks: marks.length,
              part: (card.closest(".part").querySelector("h3") || {}).textContent || ""});
}
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node; (node = walker.nextNode());) {
  const e = node.parentElement, svg = e.closest("svg");
  if (!node.textContent.trim() || ["SCRIPT", "STYLE", "title"].includes(e.tagName)) continue;
  const style = getComputedStyle(e);
  let color = rgb(svg ? style.fill : style.color), behind = ground(e);
  if (svg && /^t\d+$/.test(e.getAttribute("class") || "")) {
    e.scrollIntoView({block: "center", behavior: "instant"});
    const b = e.getBoundingClientRect();
    const cell = document.elementsFromPoint(b.x + b.width / 2, b.y + b.height / 2).find(c => c.tagName === "path" && /^h\d+$/.test(c.getAttribute("class") || ""));
    if (!cell) { faint.push([node.textContent, "no cell below"]); continue; }
    behind = rgb(getComputedStyle(cell).fill);
    labels++;
  }
  texts++;
  if (!(contrast(color, behind) >= 4.5)) faint.push([node.textContent.trim().slice(0, 40), contrast(color, behind).toFixed(2), color, behind]);
}
return {cards, faint, texts, labels, paper: rgb(getComputedStyle(document.body).backgroundColor), alerted: !!window.alerted,
        headings: [...document.querySelectorAll("h2")].map(h => h.textContent), images: document.querySelectorAll("img").length};
