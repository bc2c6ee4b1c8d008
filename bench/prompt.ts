/**
 * What a person waits for at the prompt, with the program as npm installs it, beside a start of Node.js that does nothing:
 * one CVE explained for every kernel of Debian, and feeds that have not changed since. Budget: half a second each.
 *
 *     npm run bench:prompt -- [rounds] [cves.ndjson]
 */
import { cp, mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { bundleProgram } from "../scripts/bundle.ts";
import { catalogFarm, median, PLACE, timed } from "./measure.ts";

const [rounds = "9", feed = "test/fixtures/gap/pairs.ndjson.gz"] = process.argv.slice(2);
const BUDGET = 0.5;
const CVE = "CVE-2024-35974";

const home = join(PLACE, "package");
await rm(home, { recursive: true, force: true });
await mkdir(home, { recursive: true });
for (const name of ["bin", "package.json", "docs", "images"])
  await cp(name, join(home, name), { recursive: true });
await symlink(resolve("node_modules"), join(home, "node_modules"));
await bundleProgram(join(home, "dist"));
await writeFile(join(home, "nothing.js"), "");

const farm = await catalogFarm("prompt", {
  drivers: [],
  sources: [{ kind: "apt", releases: ["debian11", "debian12", "debian13"] }],
  feeds: [{ kind: "compact", from: resolve(feed) }],
});
console.error("preparing: feeds");
await farm.kmodfarm("gap", "ingest");

const program = join(home, "bin/kmodfarm");
const words = ["--config", farm.config];
const MEASURED: Readonly<Record<string, readonly string[]>> = {
  "node, nothing to do": [process.execPath, join(home, "nothing.js")],
  "kmodfarm --version": [program, "--version"],
  "kmodfarm gap --help": [program, "gap", "--help"],
  "gap explain CVE": [program, "gap", "explain", CVE, ...words],
  "the same, in a checkout": [resolve("bin/kmodfarm"), "gap", "explain", CVE, ...words],
  "gap ingest, unchanged": [program, "gap", "ingest", ...words],
};
for (const [what, argv] of Object.entries(MEASURED)) {
  // A CVE that some kernel has is 1, and one of which something is unknown 3.
  const isGood = (exitCode: number) => [0, 1, 3].includes(exitCode);
  await timed(argv, isGood);
  const seconds: number[] = [];
  for (let round = 0; round < Number(rounds); round++) seconds.push((await timed(argv, isGood)).seconds);
  const budget = what.startsWith("gap") ? `  (budget ${BUDGET})` : "";
  console.log(
    `${what.padEnd(24)} ${median(seconds).toFixed(2)} s (${Math.min(...seconds).toFixed(2)} to ${Math.max(...seconds).toFixed(2)})${budget}`,
  );
}
