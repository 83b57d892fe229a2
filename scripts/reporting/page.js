// Theme, and which runs are shown. Without it the page is whole: both only change what is there.
(function () {
  "use strict";
  var root = document.documentElement, themes = ["auto", "light", "dark"], theme = document.getElementById("theme");
  theme.addEventListener("click", function () {
    var next = themes[(themes.indexOf(root.dataset.theme || "auto") + 1) % themes.length];
    if (next === "auto") delete root.dataset.theme; else root.dataset.theme = next;
    theme.textContent = "Theme: " + next;
  });

  var sheet = document.head.appendChild(document.createElement("style"));
  var hidden = {}, hot = null;
  function apply() {
    var rules = Object.keys(hidden).map(function (run) { return ".run-" + run + "{display:none}"; });
    if (hot !== null) rules.push(".run:not(.run-" + hot + "){opacity:.12}");
    sheet.textContent = rules.join("");
    document.querySelectorAll(".chip").forEach(function (chip) {
      chip.setAttribute("aria-pressed", String(!hidden[chip.dataset.run]));
    });
  }
  document.querySelectorAll(".chip").forEach(function (chip) {
    var run = chip.dataset.run;
    chip.addEventListener("click", function () {
      if (hidden[run]) delete hidden[run]; else hidden[run] = true;
      apply();
    });
    chip.addEventListener("pointerenter", function () { hot = hidden[run] ? null : run; apply(); });
    chip.addEventListener("pointerleave", function () { hot = null; apply(); });
  });

  var links = {}, sections = document.querySelectorAll("main section[id]");
  document.querySelectorAll("nav .links a").forEach(function (link) { links[link.hash.slice(1)] = link; });
  if ("IntersectionObserver" in window) {
    var seen = new IntersectionObserver(function (entries) {
      entries.forEach(function (entry) { links[entry.target.id].classList.toggle("here", entry.isIntersecting); });
    }, { rootMargin: "-20% 0px -70% 0px" });
    sections.forEach(function (section) { seen.observe(section); });
  }
})();
