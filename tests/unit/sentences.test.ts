import { expect, test } from "vitest";
import { Sentences } from "../../www/sentences";

test.each([
  ["one sentence", ["Lily ran.", " "], ["Lily ran."], []],
  ["an end that may go on", ["It cost 3.", "5 coins. Yes"], ["It cost 3.5 coins."], ["Yes"]],
  ["a quotation", ['"Good boy!" said', " Lily.\n"], ['"Good boy!"', "said Lily."], []],
  ["a line without a stop", ["A title\nText"], ["A title"], ["Text"]],
  ["nothing", [" ", "\n\n"], [], []],
])("%s is spoken by sentence", (_, pieces, spoken, rest) => {
  const sentences = new Sentences();
  expect(pieces.flatMap((piece) => sentences.push(piece))).toEqual(spoken);
  expect(sentences.finish()).toEqual(rest);
});
