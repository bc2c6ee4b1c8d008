/**
 * What `kmodfarm verify` of a registry takes beside `sha256sum` of the same files: at most 1.5 times as long.
 *
 *     npm run bench:verify -- [artifacts] [kilobytes of each module] [rounds]
 */
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sha256, toDocument } from "../src/base/json.ts";
import { removeTree } from "../src/base/strange-tree.ts";
import { putBlob } from "../src/registry/blobs.ts";
import { nextState } from "../src/registry/publish.ts";
import { openFolderStore } from "../src/registry/stores/folder.ts";
import { verifyRegistry } from "../src/registry/verify.ts";
import { makeEntry, makeManifest, makeOutcome, NOTHING } from "../test/support/artifacts.ts";
import { makeElement } from "../test/support/elements.ts";
import { makeCatalog, makeKernel } from "../test/support/kernels.ts";
import { firstRoot, publishSigned, putRoot } from "../test/support/signed-store.ts";
import { spread, timed } from "./measure.ts";

const [count = 200, kilobytes = 400, rounds = 5] = process.argv.slice(2).map(Number);
const place = await mkdtemp(join(tmpdir(), "kmodfarm-verify-"));
const store = await openFolderStore(place);
await putRoot(store, firstRoot());
const kernels = Array.from({ length: count }, (_, index) => makeKernel({ kversion: `6.1.0-${index}-amd64` }));
const outcomes = [];
for (const { kversion } of kernels) {
  const element = makeElement({ kversion });
  const bytes = randomBytes(kilobytes << 10);
  const digest = await putBlob(store, bytes);
  const log = await putBlob(store, `log ${kversion}`);
  const plain = makeManifest(element, [], kversion);
  const manifest = {
    ...plain,
    modules: plain.modules.map((one) => ({ ...one, size: bytes.length, digests: { unsigned: digest } })),
    log: { digest: log, size: log.length },
  };
  await putBlob(store, toDocument(manifest));
  const modules = [{ name: "doorbell", digest, size: bytes.length }];
  const entry = { ...makeEntry(element, kversion), modules, log, manifest: sha256(toDocument(manifest)) };
  outcomes.push(makeOutcome(element, { artifact: { entry, isStable: true } }));
}
const now = new Date();
await publishSigned(store, nextState(NOTHING, makeCatalog(kernels), outcomes), { now });
const [ours, theirs]: [number[], number[]] = [[], []];
let files = 0;
for (let round = 0; round < rounds; round++) {
  const started = performance.now();
  const found = await verifyRegistry(store, { now });
  ours.push((performance.now() - started) / 1000);
  if (found.breaks.length > 0) throw new Error(JSON.stringify(found.breaks.slice(0, 3)));
  files = found.files;
  theirs.push(
    (await timed(["sh", "-c", 'find "$1" -type f -exec sha256sum {} + >/dev/null', "sh", place])).seconds,
  );
}
console.log(`${count} artifacts, ${files} files; SHA-256 in this process: ${hashSpeed().toFixed(0)} MB/s`);
console.log(`verify     ${spread(ours)}`);
console.log(`sha256sum  ${spread(theirs)}`);
console.log(`ratio      ${(Math.min(...ours) / Math.min(...theirs)).toFixed(2)} (budget 1.5)`);
await store.close();
await removeTree(place);

function hashSpeed(): number {
  const [bytes, started] = [randomBytes(64 << 20), performance.now()];
  createHash("sha256").update(bytes).digest();
  return 64_000 / (performance.now() - started);
}
