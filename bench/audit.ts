/**
 * `kmodfarm audit` of every module of a kernel against `sha256sum` over the same files, and for compressed ones against
 * `xz -dc | sha256sum`, in interleaved rounds.
 *
 *     npm run bench:audit -- DIRECTORY [rounds]
 *
 * DIRECTORY holds uncompressed modules, such as a linux-image package unpacked with dpkg-deb -x.
 */
import { cp, mkdir, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { median, PLACE, spread, timed } from "./measure.ts";

const [directory, rounds = "3"] = process.argv.slice(2);
if (directory === undefined) throw new Error("which directory?");
const packed = join(PLACE, "audit-xz");
await rm(packed, { recursive: true, force: true });
await mkdir(PLACE, { recursive: true });
await cp(directory, packed, { recursive: true });
await timed([
  "sh",
  "-c",
  `find '${packed}' -name '*.ko' -print0 | xargs -0 -P2 -n 50 xz --check=crc32 --lzma2=dict=1MiB`,
]);

const kmodfarm = (place: string) =>
  timed([resolve("bin/kmodfarm"), "audit", place, "--json"], (exit) => exit <= 1);
const peer = (command: string) => timed(["sh", "-c", command]);
for (const [what, place, command, aim] of [
  ["plain", directory, `find '${directory}' -name '*.ko' -print0 | xargs -0 sha256sum`, 3],
  ["xz", packed, `find '${packed}' -name '*.ko.xz' -print0 | xargs -0 xz -dc | sha256sum`, 1.5],
] as const) {
  const seconds: { own: number[]; theirs: number[] } = { own: [], theirs: [] };
  let modules = 0;
  for (let round = 0; round < Number(rounds); round++) {
    const own = await kmodfarm(place);
    modules = (JSON.parse(own.stdout) as { modules: number }).modules;
    seconds.own.push(own.seconds);
    seconds.theirs.push((await peer(command)).seconds);
  }
  const ratio = median(seconds.own.map((own, index) => own / (seconds.theirs[index] as number)));
  console.log(`${what}: ${modules} modules, ${rounds} rounds; medians:
  kmodfarm audit:  ${spread(seconds.own)}
  ${what === "xz" ? "xz | sha256sum: " : "sha256sum:      "} ${spread(seconds.theirs)}
  ratio:           ${ratio.toFixed(2)}  (aim ${aim})`);
}
await rm(packed, { recursive: true, force: true });
