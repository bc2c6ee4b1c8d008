/**
 * What a signature of a module costs: the signer's answer and the file beside the module, for keys of both kinds; and what
 * it takes to open a key. Budget: 5 ms of a processor an artifact; the time on the clock depends on the disk, too.
 *
 *     npm run bench:sign -- [artifacts]
 */
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sha256 } from "../src/base/json.ts";
import { keySettings } from "../src/farm/config/keys.ts";
import { FarmSigning } from "../src/farm/signing/keys.ts";
import { ModuleSigning } from "../src/farm/signing/modules.ts";
import { openFolderStore } from "../src/registry/stores/folder.ts";
import { createKey } from "../src/signing/create.ts";
import { makeEntry } from "../test/support/artifacts.ts";
import { makeElement } from "../test/support/elements.ts";

const BUDGET_MS = 5;
const [count = 500] = process.argv.slice(2).map(Number);
const place = await mkdtemp(join(tmpdir(), "kmodfarm-bench-"));
let isWithin = true;

/** Of this process and of all that it started and that run; ticks of 10 ms. */
function cpuMs(pid = process.pid): number {
  const text = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").split(" ").filter(Boolean);
  return fields.slice(11, 13).reduce(
    (sum, ticks) => sum + Number(ticks) * 10,
    children.reduce((sum, child) => sum + cpuMs(Number(child)), 0),
  );
}

for (const kind of ["rsa", "p256"] as const) {
  await createKey({ name: kind, kind, directory: place, hasCertificate: true });
  const keys = keySettings(place, { [kind]: { for: "module", file: `${kind}.pem` } });
  const element = makeElement();
  const drivers = [{ name: element.driver, source: ".", versions: ["1"] }];
  const signatures = [{ certificate: join(place, `${kind}.der`), key: kind }];
  const store = await openFolderStore(join(place, "store", kind));
  await using signing = new FarmSigning({ keys, keyDirectory: place });
  const modules = new ModuleSigning({ drivers, signatures, base: place }, signing, store);
  const measure = async (from: number, to: number) => {
    const [cpu, clock] = [cpuMs(), performance.now()];
    for (let index = from; index < to; index++)
      await modules.signed({
        ...makeEntry(element),
        modules: [{ name: "bell", digest: sha256(`module ${index}`), size: 1 }],
      });
    return { cpuMs: cpuMs() - cpu, clockMs: performance.now() - clock };
  };

  const first = await measure(0, 1);
  const all = await measure(1, count + 1);
  const [eachMs, clockMs] = [all.cpuMs / count, all.clockMs / count];

  isWithin &&= eachMs <= BUDGET_MS;
  console.log(
    `${kind}: ${eachMs.toFixed(2)} ms of a processor an artifact (at most ${BUDGET_MS}), ${clockMs.toFixed(2)} ms on the clock; ${count} of one module each, signed and stored; opening the key: ${first.cpuMs} ms and ${first.clockMs.toFixed(0)} ms`,
  );
}
await rm(place, { recursive: true });
process.exitCode = isWithin ? 0 : 1;
