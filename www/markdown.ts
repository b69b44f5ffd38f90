// Markdown of an answer as markup that holds nothing but structure: no links, no images, no attributes, no HTML of the model's own.
// Loaded once an answer looks like it needs it.
import DOMPurify from "dompurify";
import { Marked, type RendererObject } from "marked";

const TAGS = [
  ...["p", "br", "strong", "em", "del", "code", "pre", "ul", "ol", "li", "blockquote", "hr"],
  ...["table", "thead", "tbody", "tr", "th", "td"],
];

// Whatever a model writes as HTML is shown as it wrote it. What could be clicked or fetched is shown with its address instead.
const renderer: RendererObject = {
  html: ({ text }) => escape(text),
  // The library leaves text as it is after a tag such as <script>, in the belief that the tag stands.
  text(token) {
    return "tokens" in token ? this.parser.parseInline(token.tokens) : escape(token.text);
  },
  link({ href, tokens }) {
    const text = this.parser.parseInline(tokens);
    return text === escape(href) ? text : `${text} (${escape(href)})`;
  },
  image: ({ href, text }) => `${escape(text)} (${escape(href)})`,
  // The page's own headings must not be interrupted by an answer's.
  heading({ tokens }) {
    return `<p><strong>${this.parser.parseInline(tokens)}</strong></p>\n`;
  },
  code: ({ text }) => `<pre><code>${escape(text)}</code></pre>\n`,
  checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
};

// Models break lines where they mean it.
const marked = new Marked({ gfm: true, breaks: true, renderer });

/** Markup in which every tag is one of `TAGS` and stands there because of the text's markdown. */
export function toMarkup(text: string): string {
  return marked.parse(text, { async: false });
}

/** The same as nodes, taken apart and put together again by DOMPurify: what should never have come through is dropped here. */
export function toNodes(text: string): DocumentFragment {
  return DOMPurify.sanitize(toMarkup(text), {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ["start"],
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    RETURN_DOM_FRAGMENT: true,
  });
}

function escape(text: string): string {
  const entities: Record<string, string> = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&#39;",
  };
  return text.replaceAll(/[&<>"']/g, (character) => entities[character] ?? character);
}
