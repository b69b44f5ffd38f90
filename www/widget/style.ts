// The widget's looks. Colours follow the page's `color-scheme` unless `theme` says otherwise; what may be set from outside is
// listed in docs/widget.md.

export const style = /* css */ `
:host {
  --_paper: var(--halfdepth-paper, light-dark(#ffffff, #152021));
  --_ink: var(--halfdepth-ink, light-dark(#13201f, #e5eeec));
  --_muted: var(--halfdepth-muted, light-dark(#52615f, #9db0ad));
  --_line: var(--halfdepth-line, light-dark(#d5dedc, #2a3839));
  --_full: var(--halfdepth-full, light-dark(#0d6470, #63c5d0));
  --_full-ink: var(--halfdepth-full-ink, light-dark(#ffffff, #06282d));
  --_half: var(--halfdepth-half, light-dark(#b04f06, #f0a35c));
  --_warning: var(--halfdepth-warning, light-dark(#8a4b00, #f4c58a));
  --_sans: var(--halfdepth-font, system-ui, -apple-system, "Segoe UI", sans-serif);
  --_serif: var(--halfdepth-answer-font, ui-serif, "Iowan Old Style", Palatino, Georgia, serif);
  --_radius: var(--halfdepth-radius, 10px);
  display: block;
  container-type: inline-size;
  min-width: 0;
  margin-block: 1.5rem;
}
@supports not (color: light-dark(#000, #fff)) {
  :host {
    --_paper: var(--halfdepth-paper, #ffffff);
    --_ink: var(--halfdepth-ink, #13201f);
    --_muted: var(--halfdepth-muted, #52615f);
    --_line: var(--halfdepth-line, #d5dedc);
    --_full: var(--halfdepth-full, #0d6470);
    --_full-ink: var(--halfdepth-full-ink, #ffffff);
    --_half: var(--halfdepth-half, #b04f06);
    --_warning: var(--halfdepth-warning, #8a4b00);
  }
}
:host([hidden]) { display: none }
:host([theme="light"]) { color-scheme: light }
:host([theme="dark"]) { color-scheme: dark }
*, *::before, *::after { box-sizing: border-box }
[hidden] { display: none !important }
p { margin: 0 }
.frame {
  display: grid;
  gap: 0.75rem;
  padding: clamp(0.7rem, 3cqi, 1.1rem);
  border: 1px solid var(--_line);
  border-radius: var(--_radius);
  background: var(--_paper);
  color: var(--_ink);
  font: 1rem/1.5 var(--_sans);
  text-align: start;
}
.question { overflow-wrap: anywhere; white-space: pre-wrap; font: 600 1.1rem/1.45 var(--_serif) }
.lanes { display: grid; gap: 0.5rem 0.75rem; grid-template-columns: 1fr 1fr; grid-template-rows: auto auto 1fr auto }
.lane {
  display: grid;
  grid-row: span 4;
  grid-template-rows: subgrid;
  min-width: 0;
  padding-top: 0.5rem;
  border-top: 3px solid var(--_lane);
}
.first { --_lane: var(--_full) }
.second { --_lane: var(--_half) }
.title { color: var(--_lane); font-weight: 600; font-size: 0.88rem }
.strip { display: flex; align-items: flex-end; gap: clamp(1px, 0.6%, 4px); height: 1.6rem; color: var(--_lane) }
.strip i { flex: 1 1 0; min-width: 0; height: 24%; border: 1px solid currentcolor; border-radius: 2px; opacity: 0.5 }
.strip .kept { height: 100%; background: currentcolor; opacity: 1 }
.answer { min-height: 6.4em; overflow-wrap: anywhere; font: 1rem/1.6 var(--_serif) }
.words { white-space: pre-wrap }
.words.markup { white-space: normal }
.markup > :first-child { margin-top: 0 }
.markup :is(pre, code) { white-space: pre-wrap; font-size: 0.85em }
.rest { visibility: hidden }
.speed { font-size: 0.9rem; font-variant-numeric: tabular-nums; min-height: 1.5em }
.small, .label, .lane .note { color: var(--_muted); font: 0.85rem/1.5 var(--_sans) }
.replaying + .verdict { visibility: hidden }
.verdict { font: 600 1rem/1.5 var(--_serif); text-wrap: pretty }
.controls, form { display: flex; flex-wrap: wrap; align-items: center; gap: 0.5rem }
button, textarea { font: inherit; color: inherit; border: 1px solid var(--_line); border-radius: var(--_radius); background: var(--_paper) }
button { min-height: 2.5rem; padding: 0.35rem 0.9rem; cursor: pointer }
button:hover { border-color: var(--_muted) }
button.primary { border-color: var(--_full); background: var(--_full); color: var(--_full-ink); font-weight: 600 }
textarea { flex: 1 1 12rem; min-width: 0; min-height: 2.5rem; padding: 0.45rem 0.6rem; resize: vertical; field-sizing: content }
:focus-visible { outline: 2px solid var(--_full); outline-offset: 2px }
progress { width: 100%; height: 0.5rem; accent-color: var(--_full) }
.error { color: var(--_warning) }
.said { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap }
/* Side by side on a phone as well: that is what there is to see, and nothing jumps when a replay ends. */
@container (max-width: 30rem) {
  .lanes { gap: 0.4rem 0.6rem }
  .answer { font-size: 0.88rem; line-height: 1.5 }
  .lane .note, .small, .label { font-size: 0.8rem }
}
@container (max-width: 15rem) {
  .lanes { grid-template-columns: 1fr; grid-template-rows: none }
}
@media (prefers-reduced-motion: no-preference) {
  .lane[data-state="writing"] .kept { animation: breathe 1.4s ease-in-out infinite alternate }
  @keyframes breathe { to { opacity: 0.6 } }
}
`;
