// The budget's page: sliders move figures, nonsense is told, and nothing of it needs the engine or WebGPU.
import AxeBuilder from "@axe-core/playwright";
import { expect, type Locator, type Page } from "@playwright/test";
import { words } from "../../www/budget/words";
import { strings } from "../../www/strings";
import { button, expectNoSidewaysScroll, test } from "./page";

const { controls } = words;

test.beforeEach(async ({ page }) => {
  await page.addInitScript(() => {
    Reflect.deleteProperty(Navigator.prototype, "gpu");
  });
});

function slider(page: Page, label: string): Locator {
  return page.getByRole("slider", { name: label, exact: true });
}

function bar(page: Page, kind: "whole" | "full" | "half"): Locator {
  return page.locator(`[data-bar=${kind}] b`);
}

/** Moves a slider by keyboard until it says so. */
async function moveTo(slider: Locator, key: "ArrowLeft" | "ArrowRight", says: string) {
  await slider.focus();
  const value = () => slider.getAttribute("aria-valuetext");
  for (let moved = 0; moved < 20 && !(await value())?.endsWith(says); moved += 1) {
    await slider.press(key);
  }
  expect(await value()).toContain(says);
}

async function expectAccessible(page: Page, state: string): Promise<void> {
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    const { violations } = await new AxeBuilder({ page }).analyze();
    const found = violations.map(
      ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`,
    );
    expect(found, `${state}, ${colorScheme}`).toEqual([]);
  }
}

test("sliders move the figures, by keyboard, and the address brings them back", async ({
  page,
}) => {
  const asked: string[] = [];
  page.on("request", (request) => asked.push(request.url()));
  await page.goto("./budget.html");
  await expect(bar(page, "whole")).toHaveText("137.95 GB");
  await expect(bar(page, "half")).toHaveText("19.55 GB");
  await expect(page.getByRole("cell", { name: /^19\.55 GB 19,549,421,568/ })).toBeVisible();
  const fits = page.locator("[data-card='GeForce RTX 4090'] td");
  await expect(fits.first()).toHaveText(words.cards.no);
  await expect(fits.last()).toHaveText(/^≤ \d/);

  await moveTo(slider(page, controls.bits), "ArrowLeft", "4.0");
  await expect(bar(page, "half")).toHaveText("17.38 GB");
  const dropped = slider(page, controls.dropped);
  await dropped.press("Home");
  await expect(bar(page, "half")).toHaveText("34.49 GB");
  await expect(page.getByText(controls.droppedValue(0, 80))).toBeVisible();
  await dropped.press("End");
  await expect(page.getByText(controls.droppedValue(79, 80))).toBeVisible();
  const cache = page.locator("[data-bar=full] .cache");
  await expect(cache).toHaveText(words.bars.cache("1.34 GB"));
  await slider(page, controls.context).press("ArrowLeft");
  await expect(cache).toHaveText(words.bars.cache("671.09 MB"));

  await page.reload();
  await expect(dropped).toHaveAttribute("aria-valuetext", controls.droppedValue(79, 80));
  await expect(cache).toHaveText(words.bars.cache("671.09 MB"));
  await button(page, controls.article).click();
  await expect(bar(page, "half")).toHaveText("17.38 GB");
  expect(asked.filter((address) => /\.(wasm|bin)$|manifest/.test(address))).toEqual([]);
});

test("a pasted config.json is reckoned; nonsense is told", async ({ page }) => {
  await page.goto("./budget.html?bits=q9&model=llama-3.1-8b");
  await expect(page.getByText(words.ignored(["bits"]))).toBeVisible();
  await expect(bar(page, "whole")).toHaveText("16.06 GB");
  await page.getByLabel(controls.model, { exact: true }).selectOption({ label: controls.pasted });
  const box = page.getByLabel(controls.paste);
  for (const [text, message] of [
    ["<script>alert(1)</script>", words.config.noJson],
    ["[]", words.config.noObject],
    ['{"model_type": "gpt2"}', words.config.unsupported("model_type", '"gpt2"')],
    ['{"model_type": "llama"}', words.config.missing("hidden_size")],
  ] as const) {
    await box.fill(text);
    await expect(page.getByText(message)).toBeVisible();
    await expect(box).toHaveAttribute("aria-invalid", "true");
    await expect(page.locator("hd-budget-bars")).toHaveCount(0);
  }
  await expectAccessible(page, "nonsense pasted");
  await box.fill(
    JSON.stringify({
      ...{ model_type: "llama", hidden_size: 576, intermediate_size: 1536, vocab_size: 49_152 },
      ...{ num_hidden_layers: 30, num_attention_heads: 9, num_key_value_heads: 3 },
      ...{ max_position_embeddings: 8192, tie_word_embeddings: true },
    }),
  );
  // SmolLM2-135M, which `halfdepth budget` knows by name.
  await expect(page.getByText(controls.pasteReady(30, "135 M"))).toBeVisible();
  await expect(bar(page, "whole")).toHaveText("269.03 MB");
  await expect(slider(page, controls.dropped)).toHaveAttribute(
    "aria-valuetext",
    controls.droppedValue(15, 30),
  );
  const bandwidth = page.getByLabel(controls.bandwidth, { exact: true });
  await bandwidth.fill("-3");
  await bandwidth.blur();
  await expect(page.getByRole("alert")).toHaveText(controls.bandwidthWrong(1, 100_000));
});

test("it is accessible and fits a phone, and the article's figures are set right", async ({
  page,
}) => {
  await page.setViewportSize({ width: 360, height: 740 });
  await page.goto("./budget.html");
  await expect(page.locator("hd-budget-article")).toContainText("137.95 GB and 17.38 GB");
  await page.getByText(words.figures.how).click();
  await expectAccessible(page, "as it opens");
  for (const width of [320, 768, 1280]) {
    await page.setViewportSize({ width, height: 800 });
    await expectNoSidewaysScroll(page);
  }
});

test("the first page leads there", async ({ page }) => {
  await page.goto("./");
  await page.getByRole("link", { name: strings.about.budget }).click();
  await expect(page.getByRole("heading", { name: words.title })).toBeVisible();
  await page.getByRole("link", { name: words.back }).click();
  await expect(page.getByRole("heading", { name: strings.title })).toBeVisible();
});
