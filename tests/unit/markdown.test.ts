import { describe, expect, test } from "vitest";
import { looksLikeMarkdown } from "../../www/looks";
import { toMarkup } from "../../www/markdown";

describe("markdown is told from prose", () => {
  test.each([
    "```js\nlet a",
    "# Title",
    "This is **bold**.",
    "Call `f()` first.",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "a | b\n--- | ---",
    "- one\n- two",
    "Steps:\n\n1. one\n   more of it\n2. two",
    "* one\n\n* two",
  ])("%j is markdown", (text) => {
    expect(looksLikeMarkdown(text)).toBe(true);
  });

  test.each([
    'Once upon a time, there was a little girl.\n\n"Lily, can I play?" she asked.',
    "- Hello! said the dog.",
    "2 * 3 * 4 is 24.",
    "It cost 5 ** 2.",
    "#hashtag and #1",
    "1. one only",
    "She ran --- and fell.",
    "a_b_c and * and `",
    "",
  ])("%j is prose", (text) => {
    expect(looksLikeMarkdown(text)).toBe(false);
  });

  test("long prose is read in no time", () => {
    const start = performance.now();
    // Each line begins what might have become a list.
    looksLikeMarkdown("- a\n".padEnd(4) + "b\n".repeat(20_000) + "1. c\n" + "d\n".repeat(20_000));
    expect(performance.now() - start).toBeLessThan(500);
  });
});

describe("markup", () => {
  test.each([
    ["a\nb", "<p>a<br>b</p>\n"],
    ["# Title", "<p><strong>Title</strong></p>\n"],
    ["**bold** and *not*", "<p><strong>bold</strong> and <em>not</em></p>\n"],
    ["```js\nif (a < b)", "<pre><code>if (a &lt; b)</code></pre>\n"],
    ["[x](https://a.b/c)", "<p>x (https://a.b/c)</p>\n"],
    ["https://a.b/c", "<p>https://a.b/c</p>\n"],
    ["![x](https://a.b/c.png)", "<p>x (https://a.b/c.png)</p>\n"],
    ["[x](javascript:alert(1))", "<p>x (javascript:alert(1))</p>\n"],
    ["<b>x</b>", "<p>&lt;b&gt;x&lt;/b&gt;</p>\n"],
    ["<script>x</script>", "&lt;script&gt;x&lt;/script&gt;"],
    ["<script> <s", "&lt;script&gt; &lt;s"],
    ["a <kbd> & <s", "<p>a &lt;kbd&gt; &amp; &lt;s</p>\n"],
    ["- [x] done", "<ul>\n<li>☑ done</li>\n</ul>\n"],
    ['`<img onerror="1">`', "<p><code>&lt;img onerror=&quot;1&quot;&gt;</code></p>\n"],
  ])("of %j", (text, expected) => {
    expect(toMarkup(text)).toBe(expected);
  });

  test("every beginning of a text gives markup of the same few tags", () => {
    const text =
      "# A **b**\n\n1. `c` <i>d</i>\n2. [e](f)\n\n```x\n<g>\n```\n\n| h | i |\n|---|---|\n| j | <script>k</script> |\n> l ![m](n)";
    for (let end = 0; end <= text.length; end += 1) {
      const tags = [...toMarkup(text.slice(0, end)).matchAll(/<\/?([a-z0-9]+)([^>]*)>/g)];
      for (const [, tag, attributes] of tags) {
        expect(tag).toMatch(
          /^(p|br|strong|em|del|code|pre|ul|ol|li|blockquote|hr|table|thead|tbody|tr|th|td)$/,
        );
        expect(attributes).toMatch(/^( start="\d+"| align="\w+")?$/);
      }
    }
  });
});
