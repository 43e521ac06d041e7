// Makes the component: TOOL, the tool's program; WIT and WORLD, the contract; SOURCE, the module; NAME, the file that it
// stands in for; MADE, where the component goes.
import { readFileSync, realpathSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const [tool, witPath, world, source, jsPath, made] = process.argv.slice(2);
const { componentize } = createRequire(realpathSync(tool))("componentize-qjs");
try {
  const jsSource = readFileSync(source, "utf8");
  // Synchronous, as the contracts are; and without WASI, of which no host has anything.
  const { component } = await componentize({ witPath, world, jsSource, jsPath, sync: true, stubWasi: true });
  writeFileSync(made, component);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
