"use strict";

// Everything that comes from the server is written as text, never as markup.
const find = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const percent = (p, digits = 1) => `${(100 * p).toFixed(digits)} %`;
const nats = (value) => (value < 0.0005 ? "under 0.001 nats" : `${value.toFixed(3)} nats`);
// Of reviews, whose labels these are; of other models only what is strange to all of them.
const REVIEWS = [
  ["Clear", "The acting was superb, the music gripping, and the ending moved everyone."],
  ["Mixed", "A dull first act, but the ending was moving."],
];
const STRANGE = [
  ["Off topic", "Whisk two eggs with the sugar until the mixture is pale."],
  ["Nonsense", "qwfp zxcv 7 7 7 blorp"],
];
const REASONS = {
  epistemic: "the model's epistemic uncertainty is too high",
  confidence: "its confidence is too low",
  ood: "the text is unlike the training data",
  set_size: "the prediction set has too many labels, or none",
};
// Why another server did not decide either.
const FAILURES = {
  abstained: "it abstained as well",
  timeout: "it took too long",
  unreachable: "it cannot be reached",
  refused: "it refused the request",
  invalid: "its answer cannot be used",
  budget: "too many texts were sent in the last minute",
  busy: "too many texts were on their way",
  resting: "it failed several times and is not asked for now",
  already_forwarded: "this text was forwarded already",
};
// Why a prediction does not say how much of its uncertainty is epistemic.
const OWN_DOUBT = {
  left_out: "This model does not say how much of it is epistemic: it has a posterior, but its variance did not improve predictions on held-out texts and is not used.",
  absent: "This model does not say how much of it is epistemic: it has no posterior.",
};
let waiting = null;
let asked = 0;
let described = 0;
let ownDoubt = "absent";
// The model that is asked, once several are known, and its labels.
let model = null;
let labelsOfModel = [];
// The prediction on the page.
let shown = null;

function element(name, properties = {}, children = []) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "text") made.textContent = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function shape(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function bar(kind, share) {
  const made = element("i", { class: kind });
  made.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return made;
}

const headers = () => {
  const key = find("key").value.trim();
  return { "Content-Type": "application/json", ...(key && { Authorization: `Bearer ${key}` }) };
};

async function describe() {
  const turn = ++described;
  const path = model === null ? "/info" : `/models/${encodeURIComponent(model)}/info`;
  const answer = await fetch(path, { headers: headers() });
  if (answer.status === 401) {
    find("key-row").hidden = false;
    find("model").textContent = "an API key is required";
    return;
  }
  const info = await answer.json();
  if (turn !== described) return;
  ownDoubt = info.calibration.epistemic;
  labelsOfModel = info.labels;
  choice(info);
  const reviews = ["negative", "positive"].every((label) => info.labels.includes(label));
  examples(reviews ? [...REVIEWS, ...STRANGE] : STRANGE);
  const other = info.forwarding ? ` · when unsure, texts go to ${info.forwarding.server}` : "";
  find("model").textContent = `${info.model} · ${info.labels.length} labels · ${info.method}${other}`;
}

function body() {
  return {
    text: find("text").value,
    ...(model !== null && { model }),
    coverage: Number(find("coverage").value) / 100,
    return_samples: true,
  };
}

function problem(text) {
  find("problem").textContent = text;
  find("problem").hidden = !text;
}

async function ask() {
  const turn = ++asked;
  if (!find("text").value.trim()) {
    find("answer").hidden = true;
    problem("");
    return;
  }
  find("answer").setAttribute("aria-busy", "true");
  try {
    const answer = await fetch("/predict", {
      method: "POST", headers: headers(), body: JSON.stringify(body()),
    });
    const found = await answer.json();
    if (turn !== asked) return;
    if (answer.ok) {
      problem("");
      show(found, answer.headers.get("Server-Timing") || "");
    } else {
      if (answer.status === 401) find("key-row").hidden = false;
      problem(`${found.title}: ${found.detail}`);
    }
  } catch (error) {
    if (turn === asked) problem("The server does not respond.");
  } finally {
    if (turn === asked) find("answer").setAttribute("aria-busy", "false");
  }
}

function show(found, timing) {
  const details = found.uncertainty_details;
  find("answer").hidden = false;
  find("label").textContent = found.label;
  const interval = details.confidence_interval;
  const range = interval && percent(interval[0]) !== percent(interval[1]) ? ` (${percent(interval[0])} to ${percent(interval[1])})` : "";
  find("confidence").textContent = `${percent(found.confidence)} likely${range}`;
  decide(found);
  probabilities(found);
  tellable(found);
  spread(found);
  sources(details, found.ood);
  labels(found.prediction_set);
  novelty(found.ood);
  const cached = found.cached ? "from the cache" : timing.replaceAll(";dur=", " ").replaceAll(",", " ms,") + " ms";
  const cut = found.truncated ? ", truncated to the model's limit" : "";
  find("time").textContent = `${found.processing_time_ms.toFixed(1)} ms: ${cached}. ${found.num_tokens} tokens${cut}.`;
  const json = JSON.stringify(body()).replaceAll("'", "'\\''");
  const key = find("key").value.trim() ? " -H \"Authorization: Bearer $KEY\"" : "";
  find("curl").textContent = `curl ${location.origin}/predict -H 'Content-Type: application/json'${key} -d '${json}'`;
}

function decide(found) {
  const line = find("decision");
  line.classList.toggle("abstain", found.decision === "abstain");
  if (found.decision === "abstain") {
    const reasons = found.abstain_reasons.map((reason) => REASONS[reason] || reason);
    const other = found.forwarded;
    const decided = other && other.decided_by === "remote";
    const sure = decided && other.confidence !== undefined ? `, ${percent(other.confidence)} likely` : "";
    const why = other && (FAILURES[other.failure] || other.failure);
    const asked = !other ? "" : decided
      ? ` The server ${other.server} decided: ${other.label}${sure}.`
      : ` The server ${other.server} did not decide: ${why}.`;
    line.classList.toggle("abstain", !decided);
    line.textContent = `${decided ? "This model abstained" : "Leave this to a person"}: ${reasons.join("; ")}.${asked}`;
  } else {
    line.textContent = found.decision === "accept" ? "Confident enough to be used without review." : "";
  }
}

function probabilities(found) {
  const all = Object.entries(found.probabilities).sort((a, b) => b[1] - a[1]).slice(0, 5);
  find("bars").replaceChildren(...all.flatMap(([label, p]) => [
    element("span", { text: label }),
    element("div", { class: "bar" }, [bar("", p)]),
    element("span", { text: percent(p) }),
  ]));
}

// A server of several models lets one choose.
function choice(info) {
  if (info.models.length < 2) return;
  model = info.model;
  const options = info.models.map((name) => element("option", { value: name, text: name }));
  find("models").replaceChildren(...options);
  find("models").value = model;
  find("models-row").hidden = false;
}

// The correct label of what is shown, for the rolling figures and a new calibration.
function tellable(found) {
  const options = labelsOfModel.map((label) => element("option", { value: label, text: label }));
  find("told").replaceChildren(...options);
  find("told").value = found.label;
  find("tell").disabled = false;
  shown = found;
  find("told-outcome").textContent = "";
}

async function tell() {
  const button = find("tell");
  button.disabled = true;
  const told = { prediction_id: shown.prediction_id, label: find("told").value, text: shown.text };
  try {
    const answer = await fetch("/feedback", {
      method: "POST", headers: headers(), body: JSON.stringify(told),
    });
    const said = await answer.json();
    const why = said.errors ? said.errors[0].msg : said.detail;
    button.disabled = answer.ok;
    find("told-outcome").textContent = answer.ok ? "Stored. Thank you." : `Not stored: ${why}.`;
  } catch (error) {
    find("told-outcome").textContent = "The server does not respond.";
    button.disabled = false;
  }
}

// Each dot is what one plausible version of the model says.
function spread(found) {
  const samples = found.samples;
  const help = find("spread-help");
  // Without a posterior, or with one that is left out, there is nothing to draw.
  find("spread-card").hidden = !samples;
  if (!samples) return;
  const names = Object.keys(found.probabilities);
  const place = names.indexOf(found.label);
  const values = samples.map((line) => line[place]).sort((a, b) => a - b);
  const [width, bottom, radius] = [320, 84, 3.4];
  const x = (p) => 8 + p * (width - 16);
  const drawing = shape("svg", { viewBox: `0 0 ${width} 104`, role: "img" });
  const low = percent(values[0], 0);
  const high = percent(values[values.length - 1], 0);
  drawing.append(shape("title", {}, `${values.length} versions of the model give ${low} to ${high}`));
  const interval = found.uncertainty_details.confidence_interval;
  if (interval) {
    const wide = Math.max(1, x(interval[1]) - x(interval[0]));
    drawing.append(shape("rect", { class: "band", x: x(interval[0]), y: 4, width: wide, height: bottom - 2 }));
  }
  drawing.append(shape("line", { class: "axis", x1: 8, x2: width - 8, y1: bottom + 4, y2: bottom + 4 }));
  for (const p of [0, 0.25, 0.5, 0.75, 1]) {
    drawing.append(shape("text", { x: x(p), y: bottom + 18, "text-anchor": "middle" }, percent(p, 0)));
  }
  const heights = new Map();
  for (const p of values) {
    const column = Math.round(x(p) / (2 * radius));
    const height = heights.get(column) || 0;
    heights.set(column, height + 1);
    const step = Math.min(2 * radius, 78 / 64);
    drawing.append(shape("circle", { class: "dot", cx: x(p), cy: bottom - height * step, r: radius }));
  }
  drawing.append(shape("line", { class: "middle", x1: x(found.confidence), x2: x(found.confidence), y1: 4, y2: bottom + 4 }));
  const narrow = values[values.length - 1] - values[0] < 0.02;
  help.textContent = narrow
    ? `All ${values.length} plausible versions of the model give “${found.label}” the same probability.`
    : `${values.length} plausible versions of the model, each with its own probability of “${found.label}”. The wider the spread, the less the model knows.`;
  find("spread").replaceChildren(drawing);
}

function sources(details, ood) {
  const most = details.total / (details.normalized || 1) || 1;
  const known = details.epistemic !== null;
  find("source-title").textContent = known ? "Sources of uncertainty" : "Uncertainty";
  if (!known) {
    const kind = ood ? " Whether the text is like the training data is a separate question, answered below." : "";
    find("sources").replaceChildren(
      element("div", { class: "stack" }, [bar("data", details.normalized)]),
      element("p", { text: `${nats(details.total)}: ${percent(details.normalized, 0)} of the maximum (a uniform prediction).` }),
      element("p", { class: "quiet", text: `${OWN_DOUBT[ownDoubt] || OWN_DOUBT.absent}${kind}` }),
    );
    return;
  }
  const line = (kind, name, value) => [
    element("i", { class: kind }), element("span", { text: name }),
    element("span", { text: nats(value) }),
  ];
  find("sources").replaceChildren(
    element("div", { class: "stack" }, [bar("data", details.aleatoric / most), bar("doubt", details.epistemic / most)]),
    element("div", { class: "key" }, [
      ...line("data", "the text itself is ambiguous", details.aleatoric),
      ...line("doubt", "the model has not seen enough like it", details.epistemic),
      ...line("", "total", details.total),
    ]),
    element("p", { class: "quiet", text: `${percent(details.normalized, 0)} of the maximum (a uniform prediction).` }),
  );
}

function labels(set) {
  if (!set) {
    find("set").replaceChildren();
    find("set-help").textContent = "This model was not calibrated, so it has no prediction sets.";
    return;
  }
  const shown = set.labels.slice(0, 12).map((label) => element("li", { text: label }));
  if (set.labels.length > 12) shown.push(element("li", { text: `and ${set.labels.length - 12} more` }));
  find("set").replaceChildren(...shown);
  const promise = `Such sets contain the correct label for at least ${percent(set.coverage, 0)} of texts, based on ${set.calibration_size} held-out texts.`;
  find("set-help").textContent = set.labels.length ? promise : `None: no label fits well enough. ${promise}`;
}

function novelty(ood) {
  if (!ood) {
    find("ood").replaceChildren(element("p", { class: "quiet", text: "This model has no novelty score." }));
    return;
  }
  const needle = element("i");
  // Small p-values are what matters: a square root gives them room.
  needle.style.left = `${Math.sqrt(ood.p_value) * 100}%`;
  const words = ood.is_ood ? "No: be careful with this prediction." : ood.p_value < 0.1 ? "Barely." : "Yes.";
  find("ood").replaceChildren(
    element("p", {}, [element("strong", { text: words })]),
    element("div", { class: "gauge", role: "img", "aria-label": `p-value ${ood.p_value.toFixed(3)}` }, [needle]),
    element("p", { class: "quiet", text: `${percent(ood.p_value)} of ordinary texts are at least as unusual.` }),
  );
}

function soon() {
  find("coverage-shown").textContent = `${find("coverage").value} %`;
  clearTimeout(waiting);
  waiting = setTimeout(ask, 350);
}

function examples(all) {
  find("examples").replaceChildren(...all.map(([name, text]) => {
    const button = element("button", { type: "button", text: name });
    button.addEventListener("click", () => { find("text").value = text; ask(); });
    return button;
  }));
}

// They may have an address of their own.
async function linkMetrics() {
  const answer = await fetch("/metrics", { method: "HEAD" });
  find("metrics").hidden = !answer.ok;
}

function start() {
  find("text").addEventListener("input", soon);
  find("coverage").addEventListener("input", soon);
  find("key").addEventListener("change", () => { describe(); ask(); });
  find("models").addEventListener("change", async () => {
    model = find("models").value;
    await describe();
    ask();
  });
  find("tell").addEventListener("click", tell);
  find("copy").addEventListener("click", async () => {
    await navigator.clipboard.writeText(find("curl").textContent);
    find("copy").textContent = "Copied";
    setTimeout(() => { find("copy").textContent = "Copy"; }, 1500);
  });
  describe().catch(() => problem("The server does not respond."));
  linkMetrics().catch(() => {});
}

start();
