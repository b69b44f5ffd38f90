// Whether a text is meant as markdown. Plain prose stays plain: its line breaks, quotes and lone asterisks are its own.

const SIGNS = [
  /^ {0,3}```/m, // a fence, closed or not yet
  /^ {0,3}#{1,6} \S/m,
  /\*\*\S(?:[^*\n]*\S)?\*\*/,
  /`[^`\n]+`/,
  /^ {0,3}\|? *:?-{3,}:? *\|/m, // the rule of a table
  // One dash may open a speech; a list has two.
  /^ {0,3}[-*+] +\S.*\n(?:.*\n)*? {0,3}[-*+] +\S/m,
  /^ {0,3}1[.)] +\S.*\n(?:.*\n)*? {0,3}2[.)] +\S/m,
];

export function looksLikeMarkdown(text: string): boolean {
  return SIGNS.some((sign) => sign.test(text));
}
