"use strict";
/* What the pages do beyond links and forms: completion of names, zooming and moving a tree, unfolding it in place, arrow keys. */
(() => {
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  /* Completion: a list under the field; arrow keys and Enter choose, Escape closes. */
  let serial = 0;
  for (const field of all("input[data-complete]")) {
    const list = document.createElement("ul");
    const mine = `options-${serial++}`;
    let at = -1, timer = 0, last = "";
    list.className = "options"; list.id = mine; list.hidden = true; list.setAttribute("role", "listbox");
    list.setAttribute("aria-label", "Models");
    field.setAttribute("role", "combobox"); field.setAttribute("aria-controls", mine);
    field.setAttribute("aria-expanded", "false"); field.setAttribute("aria-autocomplete", "list");
    if (getComputedStyle(field.parentElement).position === "static") field.parentElement.classList.add("find-here");
    field.after(list);
    const show = open => { list.hidden = !open; field.setAttribute("aria-expanded", String(open)); if (!open) { at = -1; field.removeAttribute("aria-activedescendant"); } };
    const choose = place => {
      at = place;
      all("li", list).forEach((item, i) => item.setAttribute("aria-selected", String(i === at)));
      if (at >= 0) field.setAttribute("aria-activedescendant", `${mine}-${at}`);
    };
    const take = text => {
      field.value = text; show(false);
      if (field.form && field.name === "q") location.assign("/model/" + text.split("/").map(encodeURIComponent).join("/"));
      else field.focus();
    };
    const ask = async () => {
      const text = field.value.trim();
      if (text === last) return;
      last = text;
      if (!text) return show(false);
      let names = [];
      try { const answer = await fetch("/complete?q=" + encodeURIComponent(text)); if (answer.ok) names = await answer.json(); } catch { return; }
      if (field.value.trim() !== text) return;
      list.replaceChildren(...names.map((name, i) => {
        const item = document.createElement("li");
        item.id = `${mine}-${i}`; item.setAttribute("role", "option"); item.setAttribute("aria-selected", "false"); item.textContent = name;
        item.addEventListener("mousedown", event => { event.preventDefault(); take(name); });
        return item;
      }));
      show(names.length > 0); at = -1;
    };
    field.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, 80); });
    field.addEventListener("blur", () => show(false));
    field.addEventListener("keydown", event => {
      const items = all("li", list);
      if (list.hidden || !items.length) return;
      if (event.key === "ArrowDown") { event.preventDefault(); choose((at + 1) % items.length); }
      else if (event.key === "ArrowUp") { event.preventDefault(); choose((at + items.length - 1) % items.length); }
      else if (event.key === "Enter" && at >= 0) { event.preventDefault(); take(items[at].textContent); }
      else if (event.key === "Escape") show(false);
    });
  }
  document.addEventListener("keydown", event => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName || "");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) { const q = one("#q"); if (q) { event.preventDefault(); q.focus(); q.select(); } }
  });

  /* A tree: the size of the drawing is changed, the browser scrolls. */
  const live = stage => {
    const tools = one("[data-tools]", stage), view = one(".scroll", stage);
    if (!tools || !view) return;
    const svg = () => one("svg.tree", view);
    const wide = () => svg().viewBox.baseVal.width;
    let scale = 1;
    const zoom = (to, x = view.clientWidth / 2, y = view.clientHeight / 2) => {
      const next = Math.min(3, Math.max(0.08, to)), drawing = svg();
      const left = (view.scrollLeft + x) / scale, top = (view.scrollTop + y) / scale;
      scale = next;
      drawing.setAttribute("width", wide() * scale);
      drawing.setAttribute("height", drawing.viewBox.baseVal.height * scale);
      view.scrollLeft = left * scale - x; view.scrollTop = top * scale - y;
    };
    const fit = () => zoom(Math.min(1, (view.clientWidth - 4) / wide(), Math.max(0.3, (innerHeight * 0.74) / svg().viewBox.baseVal.height)));
    tools.hidden = false;
    tools.addEventListener("click", event => {
      const what = event.target.closest("[data-zoom]")?.dataset.zoom;
      if (what === "in") zoom(scale * 1.25); else if (what === "out") zoom(scale / 1.25); else if (what === "fit") fit(); else if (what === "one") zoom(1);
    });
    view.addEventListener("wheel", event => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      const edge = view.getBoundingClientRect();
      zoom(scale * Math.exp(-event.deltaY / 300), event.clientX - edge.left, event.clientY - edge.top);
    }, { passive: false });
    let held = null, moved = false;
    view.addEventListener("pointerdown", event => {
      if (event.button || event.pointerType === "touch") return;
      held = { x: event.clientX, y: event.clientY, left: view.scrollLeft, top: view.scrollTop }; moved = false;
    });
    addEventListener("pointermove", event => {
      if (!held) return;
      if (Math.hypot(event.clientX - held.x, event.clientY - held.y) > 4) { moved = true; view.classList.add("held"); }
      if (moved) { view.scrollLeft = held.left - event.clientX + held.x; view.scrollTop = held.top - event.clientY + held.y; }
    });
    addEventListener("pointerup", () => { held = null; view.classList.remove("held"); });
    view.addEventListener("click", event => { if (moved) { event.preventDefault(); event.stopPropagation(); moved = false; } }, true);
    view.addEventListener("dragstart", event => event.preventDefault());

    /* Unfolding in place: the page that the link leads to is fetched, and its drawing taken. */
    view.addEventListener("click", async event => {
      const link = event.target.closest("a[data-unfold]");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
      event.preventDefault();
      const where = link.getAttribute("href"), around = { left: view.scrollLeft, top: view.scrollTop };
      try { await take(where, around); history.pushState({ drawn: true }, "", where); } catch { location.assign(where); }
    });
    const take = async (where, around) => {
      const answer = await fetch(where);
      if (!answer.ok) throw new Error(answer.status);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = one("svg.tree", one("[data-stage] .scroll", page));
      if (!fresh) throw new Error("no drawing");
      view.replaceChildren(document.adoptNode(fresh));
      scale = scale || 1; zoom(scale); view.scrollLeft = around.left; view.scrollTop = around.top;
      const said = one("[data-said]") || document.body.appendChild(Object.assign(document.createElement("p"), { className: "skip" }));
      said.setAttribute("data-said", ""); said.setAttribute("role", "status");
      said.textContent = `${all("a.n", view).length} boxes are shown`;
    };
    addEventListener("popstate", () => { take(location.href, { left: view.scrollLeft, top: view.scrollTop }).catch(() => location.reload()); });

    /* Arrow keys go to the nearest box in that direction; plus, minus and 0 zoom. */
    view.addEventListener("keydown", event => {
      if (event.key === "+" || event.key === "=") return zoom(scale * 1.25);
      if (event.key === "-") return zoom(scale / 1.25);
      if (event.key === "0") return fit();
      const go = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!go) return;
      const boxes = all("a.n", view), here = document.activeElement;
      if (!boxes.length) return;
      event.preventDefault();
      if (!boxes.includes(here)) { (one("a.n.marked", view) || boxes[0]).focus(); return; }
      const middle = box => { const r = one("rect", box).getBBox(); return [r.x + r.width / 2, r.y + r.height / 2]; };
      const [x, y] = middle(here);
      let best = null, least = Infinity;
      for (const box of boxes) {
        if (box === here) continue;
        const [bx, by] = middle(box), along = (bx - x) * go[0] + (by - y) * go[1];
        const across = Math.abs((bx - x) * go[1]) + Math.abs((by - y) * go[0]);
        if (along < 4) continue;
        const cost = along + 3 * across;
        if (cost < least) { least = cost; best = box; }
      }
      if (best) { best.focus(); best.scrollIntoView({ block: "nearest", inline: "nearest" }); }
    });
    if (wide() > view.clientWidth * 1.05 || view.scrollHeight > view.clientHeight * 1.05) {
      const marked = one("a.n.marked", view);
      if (marked) { const r = one("rect", marked).getBBox(); view.scrollTop = r.y - Math.min(view.clientHeight, innerHeight / 2) / 2; view.scrollLeft = Math.min(r.x - 8, r.x + r.width - view.clientWidth * 0.8); }
    }
  };
  all("[data-stage]").forEach(live);

  /* The as-of slider sets the day, and shows it when it is let go. */
  for (const form of all("form[data-as-of]")) {
    const holder = one("[data-slider]", form), slider = holder && one("input", holder), day = one("input[type=date]", form);
    if (!slider || !day) continue;
    holder.hidden = false;
    const today = new Date(slider.dataset.today + "T00:00:00Z");
    const back = text => Math.round((today - new Date(text + "T00:00:00Z")) / 864e5);
    if (day.value) slider.value = String(Math.max(0, back(day.value)));
    slider.addEventListener("input", () => { const at = new Date(today - slider.value * 864e5); day.value = slider.value === "0" ? "" : at.toISOString().slice(0, 10); });
    slider.addEventListener("change", () => form.requestSubmit());
  }
})();
