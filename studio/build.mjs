// Bundles the page into the package: `node build.mjs`. The same sources give the same bytes.
import { build } from "esbuild";
import { cp, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const target = process.argv[2] ?? here("../acestep_flows/studio/static");

const { outputFiles, metafile } = await build({
  absWorkingDir: here("."),
  entryPoints: { app: "src/main.js" },
  outdir: target,
  bundle: true,
  minify: true,
  metafile: true,
  write: false,
  format: "esm",
  target: ["chrome120", "firefox121", "safari17"],
  charset: "utf8",
  logLevel: "warning",
});
const built = (ending) => outputFiles.find(({ path }) => path.endsWith(ending)).text;

await cp(here("strings"), `${target}/strings`, { recursive: true });
// Only templates have lines by now. Their indentation says nothing to the browser.
await writeFile(`${target}/app.js`, built(".js").replace(/\n {2,}/g, "\n"));

const icon = encodeURIComponent((await readFile(here("src/icon.svg"), "utf8")).trim());
const page = await readFile(here("src/index.html"), "utf8");
const style = built(".css").trim();
await writeFile(
  `${target}/index.html`,
  page.replace("{{icon}}", () => icon).replace("{{style}}", () => style),
);

const packages = new Set(
  Object.keys(metafile.inputs).flatMap((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? []),
);
const notices = [...packages].sort().map(async (name) => {
  const { version, license } = JSON.parse(await readFile(here(`node_modules/${name}/package.json`), "utf8"));
  return `${name} ${version} (${license})\n\n${await readFile(here(`node_modules/${name}/LICENSE`), "utf8")}`;
});
await writeFile(
  `${target}/THIRD_PARTY.txt`,
  `${(await Promise.all(notices)).join(`\n${"-".repeat(80)}\n\n`).trim()}\n`,
);
