// Styles that several components wear.
import { css } from "lit";

export const shared = css`
  *,
  *::before,
  *::after {
    box-sizing: border-box;
  }

  [hidden] {
    display: none !important;
  }

  h1,
  h2,
  h3,
  p,
  dl,
  dd,
  ul {
    margin: 0;
    padding: 0;
  }

  button,
  input,
  select,
  textarea {
    font: inherit;
    color: inherit;
  }

  button {
    min-height: 2.5rem;
    padding: 0.35rem 0.9rem;
    border: 1px solid var(--line);
    border-radius: var(--radius);
    background: var(--surface);
    cursor: pointer;
  }

  button:hover:not(:disabled) {
    border-color: var(--muted);
  }

  button:disabled {
    color: var(--muted);
    cursor: default;
    opacity: 0.6;
  }

  button.primary {
    border-color: var(--full);
    background: var(--full);
    color: var(--full-ink);
    font-weight: 600;
  }

  button.primary:hover:not(:disabled) {
    filter: brightness(1.1);
  }

  button.quiet {
    min-height: 2rem;
    padding: 0.1rem 0.5rem;
    border-color: transparent;
    background: transparent;
    color: var(--muted);
    font-size: 0.875rem;
  }

  button.quiet:hover:not(:disabled) {
    color: var(--ink);
    border-color: var(--line);
  }

  button.quiet[aria-pressed="true"] {
    color: var(--ink);
    border-color: currentcolor;
  }

  :focus-visible {
    outline: 2px solid var(--full);
    outline-offset: 2px;
  }

  input,
  select,
  textarea {
    min-width: 0;
    width: 100%;
    padding: 0.45rem 0.6rem;
    border: 1px solid var(--line);
    border-radius: calc(var(--radius) - 4px);
    background: var(--surface);
  }

  .visually-hidden {
    position: absolute;
    width: 1px;
    height: 1px;
    margin: -1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }
`;
