// Bundles the page into the package: `node build.mjs`. The same sources give the same bytes.
import { build } from "esbuild";
import { cp } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const target = process.argv[2] ?? here("../acestep_flows/studio/static");

await build({
  absWorkingDir: here("."),
  entryPoints: { app: "src/main.js" },
  outdir: target,
  bundle: true,
  minify: true,
  format: "esm",
  target: ["chrome120", "firefox121", "safari17"],
  legalComments: "linked",
  charset: "utf8",
  logLevel: "warning",
});
for (const file of ["index.html", "icon.svg"]) await cp(here(`src/${file}`), `${target}/${file}`);
await cp(here("strings"), `${target}/strings`, { recursive: true });
