/**
 * What a signature of a module costs: the signer's answer and the file beside the module, for keys of both kinds; and what
 * it takes to open a key. Budget: 5 ms an artifact.
 *
 *     npm run bench:sign -- [artifacts]
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sha256 } from "../src/base/json.ts";
import { keySettings } from "../src/farm/config/keys.ts";
import { ModuleSigning } from "../src/farm/sign.ts";
import { FarmSigning } from "../src/farm/signing.ts";
import { openFolderStore } from "../src/registry/stores/folder.ts";
import { createKey } from "../src/signing/create.ts";
import { makeEntry } from "../test/support/artifacts.ts";
import { makeElement } from "../test/support/elements.ts";

const BUDGET_MS = 5;
const [count = 500] = process.argv.slice(2).map(Number);
const place = await mkdtemp(join(tmpdir(), "kmodfarm-bench-"));
let isWithin = true;

for (const kind of ["rsa", "p256"] as const) {
  await createKey({ name: kind, kind, directory: place, hasCertificate: true });
  const keys = keySettings(place, { [kind]: { for: "module", file: `${kind}.pem` } });
  await using signing = new FarmSigning({ keys, keyDirectory: place });
  const store = await openFolderStore(join(place, "store", kind));
  const element = makeElement();
  const drivers = [{ name: element.driver, source: ".", versions: ["1"] }];
  const signatures = [{ certificate: join(place, `${kind}.der`), key: kind }];
  const modules = new ModuleSigning({ drivers, signatures, base: place }, signing, store);
  const entryOf = (index: number) => ({
    ...makeEntry(element),
    modules: [{ name: "bell", digest: sha256(`module ${index}`), size: 1 }],
  });

  const opening = performance.now();
  await modules.signed(entryOf(-1));
  const openMs = performance.now() - opening;
  const begin = performance.now();
  for (let index = 0; index < count; index++) await modules.signed(entryOf(index));
  const eachMs = (performance.now() - begin) / count;

  isWithin &&= eachMs <= BUDGET_MS;
  console.log(
    `${kind}: ${eachMs.toFixed(2)} ms an artifact (${count} of one module, signed and stored; at most ${BUDGET_MS}), ${openMs.toFixed(0)} ms for the first, which opens the key`,
  );
}
await rm(place, { recursive: true });
process.exitCode = isWithin ? 0 : 1;
