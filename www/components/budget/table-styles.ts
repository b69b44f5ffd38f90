// How the budget's tables look: three columns that fit a phone.
import { css } from "lit";

export const tableStyles = css`
  table {
    width: 100%;
    border-collapse: collapse;
    font-size: 0.875rem;
    font-variant-numeric: tabular-nums;
  }

  caption {
    padding-bottom: 0.4rem;
    font: 600 1.05rem/1.4 var(--serif);
    text-align: left;
  }

  th,
  td {
    width: 30%;
    padding: 0.4rem 0.6rem 0.4rem 0;
    border-top: 1px solid var(--line);
    font-weight: 400;
    text-align: left;
    vertical-align: top;
    overflow-wrap: anywhere;
  }

  th:first-child {
    width: 40%;
  }

  thead th {
    border-top: 0;
    font-weight: 600;
  }

  th.full {
    color: var(--full);
  }

  th.half {
    color: var(--half);
  }

  tbody th {
    color: var(--muted);
  }

  small {
    display: block;
    color: var(--muted);
    font-size: 0.75rem;
  }

  /* Thirteen figures and their commas, on a phone too. */
  .exact {
    white-space: nowrap;
  }

  @media (max-width: 30rem) {
    table {
      font-size: 0.8rem;
    }

    th,
    td,
    th:first-child {
      width: 33%;
      padding-right: 0.25rem;
    }

    .exact {
      font-size: 0.66rem;
    }
  }

  .note {
    padding-top: 0.5rem;
    color: var(--muted);
    font-size: 0.8rem;
    text-wrap: pretty;
  }
`;
