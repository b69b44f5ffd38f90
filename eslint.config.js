import js from "@eslint/js";
import ts from "typescript-eslint";

export default ts.config(
  {
    ignores: [
      "dist/",
      "dist-npm/",
      "target/",
      "www/wasm/",
      "www/dev/",
      "node_modules/",
      "test-results/",
      // Its types are the package's, which is not here: tests/browser/library.spec.ts compiles it under `strict`.
      "examples/vite/",
    ],
  },
  js.configs.recommended,
  ...ts.configs.strictTypeChecked,
  ...ts.configs.stylisticTypeChecked,
  {
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      // Numbers are shown all over the page.
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      // Lit calls listeners on the component that renders them.
      "@typescript-eslint/unbound-method": "off",
      // Lit's event bindings take async methods; they handle their own errors.
      "@typescript-eslint/no-misused-promises": ["error", { checksVoidReturn: false }],
    },
  },
  // Plain scripts run as they stand and have no types to check.
  { files: ["**/*.js", "**/*.mjs"], ...ts.configs.disableTypeChecked },
  // Some run in Node, some in the page, some in the worker.
  { files: ["**/*.js", "**/*.mjs"], rules: { "no-undef": "off" } },
);
