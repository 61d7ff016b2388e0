"use strict";
// Shows what /v1/summary, /v1/status, /v1/freshness, /v1/drift and /v1/services say, and asks again every few seconds.

const EVERY_MS = 1000;
const number = new Intl.NumberFormat("en");
const byId = (id) => document.getElementById(id);
let services = [];
let partWords = {};

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

function drawing(tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

async function ask(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" }, credentials: "same-origin" });
  if (answer.status === 401) { location.assign("/login"); throw new Error("the session has ended"); }
  const body = await answer.json();
  if (answer.status === 503) throw new Error(`${partWords[body.context.part] || body.context.part} does not answer`);
  if (!answer.ok) throw new Error(body.message || `${path}: ${answer.status}`);
  return body;
}

const text = (id, value) => { if (byId(id).textContent !== value) byId(id).textContent = value; };
const time = (iso) => iso.replace("T", " ").replace(/(\.\d+)?Z$/, " UTC");

function showState(status) {
  partWords = Object.fromEntries(status.parts.map((part) => [part.name, part.does]));
  text("sentence", status.sentence);
  byId("state").dataset.state = status.checked_at === 0 ? "unknown" : status.running ? "good" : "bad";
  byId("part-list").replaceChildren(...status.parts.map((part) => element("li", {},
    element("span", { class: part.ready ? "yes" : "no" }, part.ready ? "✓ " : "✗ "), element("b", {}, part.name),
    ` ${part.does}`, part.ready ? null : element("span", { class: "no" }, ` – ${part.why || part.state}`))));
}

function showFigures(summary) {
  for (const period of ["today", "week"]) {
    const figures = summary[period];
    text(`${period}-scored`, number.format(figures.scored));
    text(`${period}-alerts`, number.format(figures.alerts));
    const asked = (figures.scored_by_way.http || 0) + (figures.scored_by_way.kafka || 0);
    text(`${period}-ways`, `${number.format(figures.scored_by_way.cdc || 0)} as they were committed, ${number.format(asked)} on request`);
  }
  const noun = services.length === 1 ? `${services[0].rows} scored` : "rows scored";
  for (const one of document.querySelectorAll(".noun")) one.textContent = noun;
}

function showKinds(byKind) {
  const kinds = Object.entries(byKind).sort((a, b) => b[1] - a[1]);
  if (kinds.length === 0) { byId("kinds").replaceChildren(element("p", { class: "quiet" }, "No alerts this week.")); return; }
  const most = Math.max(...kinds.map(([, count]) => count));
  const svg = drawing("svg", { class: "bars", viewBox: `0 0 420 ${kinds.length * 34}`, role: "img", "aria-label": kinds.map(([kind, count]) => `${kind}: ${count}`).join(", ") });
  kinds.forEach(([kind, count], row) => {
    const y = row * 34;
    svg.append(drawing("text", { x: 0, y: y + 20 }, kind || "other"),
      drawing("rect", { class: "ground", x: 130, y: y + 6, width: 230, height: 20, rx: 5 }),
      drawing("rect", { class: "fill", x: 130, y: y + 6, width: Math.max(4, 230 * count / most), height: 20, rx: 5 }),
      drawing("text", { x: 370, y: y + 20 }, number.format(count)));
  });
  byId("kinds").replaceChildren(svg);
}

function showDays(days) {
  const most = Math.max(1, ...days.map((day) => day.alerts));
  const svg = drawing("svg", { class: "bars", viewBox: "0 0 420 150", role: "img", "aria-label": days.map((day) => `${day.day}: ${day.alerts}`).join(", ") });
  const step = 420 / days.length;
  days.forEach((day, column) => {
    const height = day.alerts === 0 ? 1 : Math.max(3, 96 * day.alerts / most);
    const x = column * step;
    const bar = drawing("rect", { class: day.alerts ? "fill" : "ground", x: x + 3, y: 120 - height, width: step - 6, height, rx: 3 });
    bar.append(drawing("title", {}, `${day.day}: ${number.format(day.alerts)} alerts of ${number.format(day.scored)} scored`));
    svg.append(bar, drawing("text", { class: "soft", x: x + step / 2, y: 136, "text-anchor": "middle" }, day.day.slice(8)));
    if (day.alerts) svg.append(drawing("text", { class: "soft", x: x + step / 2, y: 114 - height, "text-anchor": "middle" }, number.format(day.alerts)));
  });
  svg.append(drawing("text", { class: "soft", x: 3, y: 149 }, `from ${days[0].day} to ${days[days.length - 1].day}`));
  byId("days").replaceChildren(svg);
}

function shown(feature) {
  if (feature.value === null) return feature.status === "missing" ? "never seen before" : "nothing known";
  const value = typeof feature.value === "number" && !Number.isInteger(feature.value) ? feature.value.toFixed(2) : String(feature.value);
  if (feature.status === "stale") return `${value} (${age(feature.age_ms)} old)`;
  return feature.status === "missing" ? `${value} (never seen before)` : value;
}

function rowText(name, value, types) {
  return types[name] === "timestamp_us" && value !== null ? time(new Date(value / 1000).toISOString()) : String(value ?? "nothing");
}

function table(title, rows) {
  const body = rows.map(([name, value]) => element("tr", {}, element("td", {}, name), element("td", { class: "number" }, value)));
  return element("table", {}, element("caption", {}, title), element("tbody", {}, ...body));
}

function moved(explanation) {
  if (!explanation) return null;
  if (explanation.reason) return element("p", { class: "quiet" }, `What moved the score is not known: ${explanation.reason}.`);
  return element("div", { class: "moved" }, element("b", {}, "What moved the score"),
    element("ul", {}, ...explanation.in_words.map((sentence) => element("li", {}, sentence))));
}

function oneAlert(alert) {
  const service = services.find((one) => one.name === alert.service);
  const types = Object.fromEntries((service ? service.row : []).map((field) => [field.name, field.type]));
  const words = service ? service.features : Object.keys(alert.features).map((name) => ({ name, words: name }));
  const made = element("details", { class: "alert", "data-id": alert.alert_id },
    element("summary", {}, element("time", {}, time(alert.as_of).replace(" UTC", "")),
      element("span", { class: `badge ${alert.decision}` }, alert.decision), element("b", {}, alert.kind),
      element("span", {}, `${(100 * alert.score).toFixed(1)} %`), element("span", { class: "what" }, alert.reason)),
    element("div", { class: "inside" },
      element("p", {}, alert.reason),
      opinion(alert),
      moved(alert.explanation),
      table("What came in", Object.entries(alert.row).map(([name, value]) => [name.replaceAll("_", " "), rowText(name, value, types)])),
      table("What was known at that moment", words.filter((one) => alert.features[one.name]).map((one) => [one.words, shown(alert.features[one.name])])),
      element("p", { class: "quiet" }, `Score ${alert.score.toFixed(4)} by model ${alert.model} version ${alert.model_version}; prediction ${alert.prediction_id}`)));
  return made;
}

async function say(alert, said, place) {
  const form = new URLSearchParams({ csrf: document.querySelector("input[name=csrf]").value, service: alert.service, event_key: alert.event_key, said });
  try {
    const answer = await fetch("/console/feedback", { method: "POST", body: form, credentials: "same-origin" });
    if (!answer.ok) throw new Error((await answer.json()).message || String(answer.status));
    place.textContent = said === "take back" ? "Taken back." : `Noted: ${said}.`;
  } catch (error) {
    place.textContent = `Not noted: ${error.message}`;
  }
}

function opinion(alert) {
  const told = element("span", { class: "quiet", role: "status" });
  const button = (words, said) => {
    const made = element("button", { type: "button", "data-said": said }, words);
    made.addEventListener("click", () => say(alert, said, told));
    return made;
  };
  return element("p", { class: "opinion" }, button("Confirm fraud", "fraud"), button("False alarm", "false alarm"), button("Take back", "take back"), told);
}

const stores = { redis: "live", hbase: "history", lake: "archive" };

function age(ms) {
  if (ms === null) return "nothing yet";
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 7_200_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 3_600_000)} h`;
}

function showFreshness(views) {
  const names = [...new Set(views.map((one) => `${one.view}.v${one.version}`))];
  const rows = names.map((name) => element("tr", {}, element("th", { scope: "row" }, name.replaceAll("_", " ")),
    ...Object.keys(stores).map((store) => {
      const one = views.find((each) => `${each.view}.v${each.version}` === name && each.store === store);
      const lag = one.lag_records ? element("span", { class: "quiet" }, ` ${number.format(one.lag_records)} to come`) : null;
      return element("td", { class: one.stale ? "old" : "fresh" }, age(one.age_ms), lag);
    })));
  byId("freshness").replaceChildren(element("table", { class: "fresh-table" },
    element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "Features of"), ...Object.values(stores).map((word) => element("th", { scope: "col" }, word)))),
    element("tbody", {}, ...rows)));
}

const DRIFT_SHOWN = 5;

function oneDrift(drift) {
  const words = Object.fromEntries((services.find((one) => one.name === drift.service) || { features: [] }).features.map((one) => [one.name, one.words]));
  const told = drift.findings.length ? element("ul", {}, ...drift.findings.map((one) => element("li", { class: "old" }, one)))
    : element("p", {}, drift.enough ? "Nothing is past its limit." : "Too few rows, or too short a time, to conclude anything.");
  const most = [...drift.features].sort((a, b) => b.psi - a.psi).slice(0, DRIFT_SHOWN);
  const share = (one) => `${(100 * one).toFixed(1)} %`;
  const delay = drift.labels.median_hours === null ? "" : `; half of the labels come within ${Math.round(drift.labels.median_hours)} hours`;
  return element("div", {}, told,
    element("table", { class: "fresh-table" },
      element("thead", {}, element("tr", {}, ...["Feature", "shift (PSI)", "missing", "never seen"].map((word) => element("th", { scope: "col" }, word)))),
      element("tbody", {}, ...most.map((one) => element("tr", {}, element("th", { scope: "row" }, words[one.feature] || one.feature),
        ...[one.psi.toFixed(3), share(one.missing_share), share(one.unseen_share)].map((cell) => element("td", {}, cell)))))),
    element("p", { class: "quiet" }, `${number.format(drift.rows)} rows scored by ${drift.model} version ${drift.model_version}, compared ${time(new Date(drift.measured_at / 1000).toISOString())}${delay}`));
}

function showDrift(drifts) {
  const key = drifts.map((one) => one.service + one.measured_at).join();
  if (byId("drift").dataset.key === key) return;
  byId("drift").dataset.key = key;
  byId("drift").replaceChildren(...(drifts.length ? drifts.map(oneDrift) : [element("p", { class: "quiet" }, "Not compared yet: once an hour, and by appliance drift SERVICE.")]));
}

function showAlerts(alerts) {
  const place = byId("alerts");
  const key = alerts.map((alert) => alert.alert_id + alert.prediction_id).join();
  if (place.dataset.key === key) return;
  const open = new Set([...place.querySelectorAll("details[open]")].map((one) => one.dataset.id));
  place.dataset.key = key;
  place.replaceChildren(...(alerts.length ? alerts.map(oneAlert) : [element("p", { class: "quiet" }, "No alerts yet.")]));
  for (const one of place.querySelectorAll("details")) one.open = open.has(one.dataset.id);
}

async function refresh() {
  try {
    showState(await ask("/v1/status"));
    if (services.length === 0) services = await ask("/v1/services");
    const summary = await ask("/v1/summary");
    text("clock", time(summary.clock));
    showFigures(summary);
    showKinds(summary.week.by_kind);
    showDays(summary.days);
    showAlerts(summary.latest);
    showFreshness((await ask("/v1/freshness")).views);
    showDrift(await ask("/v1/drift"));
    byId("trouble").hidden = true;
    text("updated", `Last looked at ${new Date().toLocaleTimeString()}`);
    document.body.dataset.loaded = "yes";
  } catch (error) {
    byId("trouble").hidden = false;
    text("trouble", `The figures cannot be refreshed at the moment: ${error.message}.`);
  } finally {
    setTimeout(refresh, document.hidden ? 5 * EVERY_MS : EVERY_MS);
  }
}

refresh();
