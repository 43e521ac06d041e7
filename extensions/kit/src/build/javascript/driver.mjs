// Makes the component. Arguments: the tool's program; the contract and its world; our module; the file that it goes by;
// where the component goes.
import { readFileSync, realpathSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";

const [tool, witPath, world, source, jsPath, made] = process.argv.slice(2);
const { componentize } = createRequire(realpathSync(tool))("componentize-qjs");
try {
  const jsSource = readFileSync(source, "utf8");
  // Only what is in the extension's folder, wherever this is run from.
  const moduleRoot = dirname(jsPath);
  // Synchronous, as the contracts are; and without WASI, of which no host has anything.
  const { component } = await componentize({ witPath, world, jsSource, jsPath, moduleRoot, sync: true, stubWasi: true });
  writeFileSync(made, component);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
