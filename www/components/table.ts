// Tables of figures, as several components show them; each sets its own widths and spaces.
import { css } from "lit";

export const figures = css`
  table {
    border-collapse: collapse;
    font-size: 0.85rem;
    font-variant-numeric: tabular-nums;
  }

  th,
  td {
    padding: 0.15rem 0.5rem 0.15rem 0;
    border-top: 1px solid var(--line);
    font-weight: 400;
    text-align: left;
  }

  thead th {
    font-weight: 600;
  }
`;
