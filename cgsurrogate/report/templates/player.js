"use strict";
(function () {
  const data = JSON.parse(document.getElementById("player-data").textContent);
  const host = document.getElementById("panels");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const svgName = "http://www.w3.org/2000/svg";

  function make(tag, kind, parent) {
    const element = document.createElement(tag);
    if (kind) element.className = kind;
    if (parent) parent.appendChild(element);
    return element;
  }

  function unpack(entry) {
    if (entry.values) return entry.values;
    const text = atob(entry.positions);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    const view = new DataView(bytes.buffer);
    entry.values = new Float32Array(bytes.length / 2);
    for (let i = 0; i < entry.values.length; i++) entry.values[i] = view.getInt16(2 * i, true) * entry.scale;
    return entry.values;
  }

  function time(ps) {
    if (ps >= 1e6) return (ps / 1e6).toFixed(2) + " \u00b5s";
    return ps >= 1000 ? (ps / 1000).toFixed(2) + " ns" : Number(ps.toFixed(2)) + " ps";
  }

  class Panel {
    constructor(first, label) {
      this.root = make("div", "panel", host);
      this.root.panel = this;
      const head = make("div", "head", this.root);
      this.choice = make("select", "choice", head);
      this.choice.setAttribute("aria-label", label);
      data.ensembles.forEach((entry, i) => {
        const option = make("option", "", this.choice);
        option.value = String(i);
        option.textContent = entry.name;
      });
      this.readout = make("output", "readout", head);
      this.stage = make("div", "stage", this.root);
      const bar = make("div", "bar", this.root);
      this.button = make("button", "play", bar);
      this.button.type = "button";
      this.slider = make("input", "slider", bar);
      this.slider.type = "range";
      this.slider.min = "0";
      this.slider.setAttribute("aria-label", "frame");
      this.map = make("div", "map", this.root);
      this.image = make("img", "", this.map);
      this.overlay = document.createElementNS(svgName, "svg");
      this.map.appendChild(this.overlay);
      this.trail = document.createElementNS(svgName, "polyline");
      this.dot = document.createElementNS(svgName, "circle");
      this.trail.setAttribute("class", "trail");
      this.dot.setAttribute("class", "dot");
      this.dot.setAttribute("r", "10");
      this.overlay.append(this.trail, this.dot);
      this.timer = null;
      this.viewer = this.open();
      this.button.addEventListener("click", () => this.play(!this.timer));
      this.slider.addEventListener("input", () => { this.play(false); this.show(Number(this.slider.value)); });
      this.choice.addEventListener("change", () => { this.play(false); this.choose(Number(this.choice.value)); });
      this.map.addEventListener("click", (event) => this.nearest(event));
      this.play(false);
      this.choose(first);
    }

    open() {
      try {
        const viewer = window.$3Dmol.createViewer(this.stage, { antialias: true, disableFog: true });
        if (!viewer) throw new Error("no viewer");
        this.model = viewer.addModel();
        const count = data.chain.names.length;
        const bonds = Array.from({ length: count }, () => []);
        data.chain.bonds.forEach(([i, j]) => { bonds[i].push(j); bonds[j].push(i); });
        this.model.addAtoms(data.chain.names.map((name, i) => ({
          elem: "C", atom: name, serial: i, index: i, resn: data.chain.residues[i], x: 0, y: 0, z: 0,
          bonds: bonds[i], bondOrder: bonds[i].map(() => 1), color: data.chain.colors[i],
        })));
        this.atoms = this.model.selectedAtoms({});
        return viewer;
      } catch (error) {
        const problem = document.getElementById("player-problem");
        problem.hidden = false;
        problem.textContent = "This browser offers no WebGL, so the molecule cannot be drawn; the surface still follows the frames.";
        this.stage.classList.add("none");
        return null;
      }
    }

    paint() {
      if (this.viewer) this.viewer.setBackgroundColor(dark.matches ? 0x14181d : 0xffffff, 1);
    }

    choose(number) {
      this.entry = data.ensembles[number];
      this.choice.value = String(number);
      this.slider.max = String(this.entry.frames - 1);
      this.values = unpack(this.entry);
      const surface = this.entry.surface;
      this.map.hidden = !surface;
      if (surface) {
        this.image.src = surface.image;
        this.image.alt = "free energy over " + surface.labels.join(" and ") + ", " + this.entry.name;
        this.overlay.setAttribute("viewBox", "0 0 1000 " + 1000 * surface.ratio);
      }
      this.show(0);
      if (this.viewer) {
        this.paint();
        this.frameView();
        this.viewer.render();
      }
    }

    // The same distance for every ensemble and frame: sizes can be compared and nothing leaves the view.
    frameView() {
      const [wide, high] = [0, 1].map((axis) => Math.max(...data.ensembles.map((entry) => entry.reach[axis])) + 1.5);
      const reach = Math.max((wide * this.stage.clientHeight) / Math.max(1, this.stage.clientWidth), high);
      this.viewer.zoomTo();
      this.viewer.setSlab(-4 * (wide + high), 4 * (wide + high));
      const view = this.viewer.getView();
      const halfField = (10 * Math.PI) / 180;
      this.viewer.setView([0, 0, 0, 150 - reach / Math.tan(halfField), view[4], view[5], view[6], view[7]]);
    }

    place(point) {
      const s = this.entry.surface;
      const along = (v, limits) => Math.min(1, Math.max(0, (v - limits[0]) / (limits[1] - limits[0])));
      return [
        1000 * (s.box[0] + s.box[2] * along(point[0], s.x)),
        1000 * s.ratio * (s.box[1] + s.box[3] * (1 - along(point[1], s.y))),
      ];
    }

    show(frame) {
      this.frame = frame;
      this.root.dataset.frame = String(frame);
      this.slider.value = String(frame);
      this.readout.textContent = "frame " + (frame + 1) + " of " + this.entry.frames + " \u00b7 " + time(frame * this.entry.dt);
      if (this.entry.surface) {
        const at = this.place(this.entry.track[frame]);
        this.dot.setAttribute("cx", at[0].toFixed(1));
        this.dot.setAttribute("cy", at[1].toFixed(1));
        const tail = this.entry.track.slice(Math.max(0, frame - 12), frame + 1);
        this.trail.setAttribute("points", tail.map((p) => this.place(p).map((v) => v.toFixed(1)).join(",")).join(" "));
      }
      if (this.viewer) {
        const start = 3 * frame * this.atoms.length;
        this.atoms.forEach((atom, i) => {
          atom.x = this.values[start + 3 * i];
          atom.y = this.values[start + 3 * i + 1];
          atom.z = this.values[start + 3 * i + 2];
        });
        const thick = data.chain.thick;
        this.viewer.setStyle({}, { stick: { radius: thick ? 0.45 : 0.2 }, sphere: { radius: thick ? 0.62 : 0.3 } });
        this.viewer.render();
      }
    }

    play(on) {
      if (this.timer) window.clearInterval(this.timer);
      this.timer = on ? window.setInterval(() => this.show((this.frame + 1) % this.entry.frames), 60) : null;
      this.button.textContent = on ? "\u275a\u275a Pause" : "\u25b6 Play";
      this.button.setAttribute("aria-pressed", String(Boolean(on)));
    }

    nearest(event) {
      const s = this.entry.surface;
      const rect = this.map.getBoundingClientRect();
      const x = ((event.clientX - rect.left) / rect.width - s.box[0]) / s.box[2];
      const y = 1 - ((event.clientY - rect.top) / rect.height - s.box[1]) / s.box[3];
      if (x < -0.05 || x > 1.05 || y < -0.05 || y > 1.05) return;
      const near = (p, limits, at) => (p - limits[0]) / (limits[1] - limits[0]) - at;
      let best = 0, least = Infinity;
      this.entry.track.forEach((p, i) => {
        const d = near(p[0], s.x, x) ** 2 + near(p[1], s.y, y) ** 2;
        if (d < least) { least = d; best = i; }
      });
      this.play(false);
      this.show(best);
    }
  }

  const panels = [new Panel(0, "ensemble on the left")];
  if (data.ensembles.length > 1) panels.push(new Panel(1, "ensemble on the right"));
  dark.addEventListener("change", () => panels.forEach((p) => { p.paint(); if (p.viewer) p.viewer.render(); }));
  window.addEventListener("resize", () => panels.forEach((p) => p.viewer && p.viewer.resize()));
})();
