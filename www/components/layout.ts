// How the page is laid out: header, lanes, conversation, question box.
import { css } from "lit";

export const layout = css`
  :host {
    display: block;
    max-width: 70rem;
    margin: 0 auto;
    padding: 0 clamp(0.9rem, 3vw, 2rem);
  }

  header {
    padding-block: clamp(1.25rem, 4vw, 2.5rem) clamp(1rem, 2.5vw, 1.75rem);
  }

  h1 {
    font: 600 clamp(1.75rem, 5vw, 2.75rem) / 1.1 var(--serif);
    letter-spacing: -0.02em;
    text-wrap: balance;
  }

  .lead {
    max-width: 58ch;
    margin-top: 0.6rem;
    color: var(--muted);
    font-size: clamp(0.95rem, 2vw, 1.05rem);
    text-wrap: pretty;
  }

  .lanes {
    display: grid;
    grid-template-columns: 1fr 1fr;
    gap: 1rem;
  }

  .lane-0 {
    --lane: var(--full);
  }

  .lane-1 {
    --lane: var(--half);
  }

  .lane-2 {
    --lane: var(--third);
  }

  /* As the answers below them. */
  @media (min-width: 62rem) {
    .lanes:has(.lane-2) {
      grid-template-columns: 1fr 1fr 1fr;
    }
  }

  .unkept {
    color: var(--warning);
    font-size: 0.85rem;
  }

  hd-status {
    margin-top: 1rem;
  }

  .exchanges {
    display: grid;
    gap: 2.25rem;
    padding-block: 1rem 1.5rem;
  }

  .examples {
    display: flex;
    flex-wrap: wrap;
    gap: 0.5rem;
    align-items: center;
    padding-block: 1rem 0.5rem;
  }

  .recorded {
    margin-top: 1rem;
  }

  .examples button {
    font-family: var(--serif);
  }

  .composer {
    position: sticky;
    bottom: 0;
    z-index: 1;
    padding-block: 0.75rem 0.5rem;
    background: linear-gradient(transparent, var(--paper) 0.75rem);
  }

  hd-settings {
    max-height: 55vh;
    margin-bottom: 0.5rem;
    overflow: auto;
  }
`;
