// The article's figures of Llama 2 70B beside what comes out when they are counted: what holds, and what does not.
import { css, html, LitElement, nothing } from "lit";
import { customElement } from "lit/decorators.js";
import { articleClaims } from "../../budget/article";
import { power, size } from "../../budget/format";
import { parameterCount } from "../../budget/reckon";
import { modelNamed, type Model } from "../../budget/shapes";
import { words } from "../../budget/words";
import { shared } from "../shared";
import { tableStyles } from "./table-styles";

/** One whose embedding is a great part of it. */
const SMALL = "smollm2-135m";

@customElement("hd-budget-article")
export class BudgetArticle extends LitElement {
  static override styles = [
    shared,
    tableStyles,
    css`
      :host {
        display: block;
        padding-top: 1rem;
        border-top: 1px solid var(--line);
      }

      h2 {
        font: 600 clamp(1.15rem, 3vw, 1.4rem) / 1.3 var(--serif);
      }

      h3 {
        padding-top: 1rem;
        font-size: 1rem;
      }

      p,
      li {
        max-width: 68ch;
        padding-top: 0.4rem;
        text-wrap: pretty;
      }

      table {
        margin-top: 1rem;
      }

      ul {
        padding-left: 1.2rem;
      }
    `,
  ];

  override render() {
    const { article } = words;
    const claims = articleClaims();
    const small = modelNamed(SMALL);
    const { bytes, flops, usualHalfBytes } = claims;
    const scientific = (value: number) => power(value, value === flops.claimed[0] ? 0 : 1);
    const rows = [
      [article.rows.full, article.saidBytes(bytes.claimed[0]), size(bytes.reckoned[0])],
      [article.rows.half, article.saidBytes(bytes.claimed[1]), size(bytes.reckoned[1])],
      [article.rows.usual, article.notSaid, size(usualHalfBytes)],
      [article.rows.flops, scientific(flops.claimed[0]), power(flops.reckoned[0], 3)],
      [article.rows.halfFlops, scientific(flops.claimed[1]), power(flops.reckoned[1], 3)],
    ];
    return html`<section aria-labelledby="article">
      <h2 id="article">${article.title}</h2>
      <p>${article.intro}</p>
      <table>
        <caption>
          ${article.caption}
        </caption>
        <thead>
          <tr>
            <th scope="col">${article.figure}</th>
            <th scope="col">${article.said}</th>
            <th scope="col">${article.reckoned}</th>
          </tr>
        </thead>
        <tbody>
          ${rows.map(
            ([name, said, reckoned]) =>
              html`<tr>
                <th scope="row">${name}</th>
                <td>${said}</td>
                <td>${reckoned}</td>
              </tr>`,
          )}
        </tbody>
      </table>
      <h3>${article.holds}</h3>
      <ul>
        <li>${article.memory(claims)}</li>
        <li>${article.ratio(claims)}</li>
        <li>${article.card(claims.cacheBytes)}</li>
      </ul>
      <h3>${article.holdsNot}</h3>
      <ul>
        <li>${article.flops(claims)}</li>
        ${small === null ? nothing : html`<li>${article.small(small.title, shareAtHalf(small))}</li>`}
      </ul>
      <h3>${article.left}</h3>
      <ul>
        <li>${article.quality}</li>
      </ul>
    </section>`;
  }
}

/** Of the parameters, what half the layers leave. */
function shareAtHalf({ shape }: Model): number {
  return parameterCount(shape, shape.layers / 2) / parameterCount(shape, shape.layers);
}

declare global {
  interface HTMLElementTagNameMap {
    "hd-budget-article": BudgetArticle;
  }
}
