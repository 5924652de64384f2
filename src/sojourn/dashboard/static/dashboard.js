// Live figures: what is marked data-live is fetched anew every few seconds. Without this script the pages are as they were when they were loaded.
"use strict";
(() => {
  const live = () => [...document.querySelectorAll("[data-live]")];
  if (!live().length) return;
  const seconds = Number(document.body.dataset.seconds) || 5;
  const place = document.querySelector("#pause");
  const button = document.createElement("button");
  let paused = false;
  let timer = 0;

  const say = (text) => { button.textContent = text; };
  const refresh = async () => {
    try {
      const answer = await fetch(location.href, { credentials: "same-origin", cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const old of live()) {
        const fresh = page.getElementById(old.id);
        // What the operator is using stays as it is: where the focus is, and what is unfolded.
        if (!fresh || old.contains(document.activeElement)) continue;
        const unfolded = [...old.querySelectorAll("details")].map((one) => one.open);
        [...fresh.querySelectorAll("details")].forEach((one, number) => { one.open = Boolean(unfolded[number]); });
        old.replaceWith(document.adoptNode(fresh));
      }
      if (!paused) say("Pause updates");
    } catch {
      if (!paused) say("Pause updates (not reached)");
    }
  };
  const go = () => {
    clearTimeout(timer);
    if (paused) return;
    timer = setTimeout(async () => {
      if (!document.hidden) await refresh();
      go();
    }, seconds * 1000);
  };
  button.type = "button";
  button.addEventListener("click", () => {
    paused = !paused;
    say(paused ? "Go on with updates" : "Pause updates");
    go();
  });
  say("Pause updates");
  place.append(button);
  go();
})();
