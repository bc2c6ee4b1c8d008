/**
 * Matrix generate and diff at 10⁴, 10⁵ and 10⁶ synthetic kernels, written and read as streams: time and peak
 * memory for each kernel must not grow. Budget at 10⁶: 60 s, 1.5 GiB.
 *
 *     npm run bench:matrix -- [largest]
 */
import { execFileSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { CatalogKernel } from "../src/catalog/catalog.ts";
import { diffFiles } from "../src/cli/matrix-io.ts";
import { elementsOf } from "../src/matrix/generate.ts";
import { matrixLines } from "../src/matrix/stream.ts";
import { peakMiB } from "./peak.ts";

const DRIVERS = [{ name: "driver", version: "0.1.1" }];
const MIRRORS = new Map([["fedora/updates", "https://mirror.example/fedora"]]);

/** Kernels as an rpm distribution lists them; one in a hundred is new or has another header package the second time. */
function* syntheticKernels(count: number, night: 0 | 1): Generator<CatalogKernel> {
  for (let index = 0; index < count; index++) {
    const isNew = night === 1 && index % 200 === 0;
    const version = `6.${index % 40}.${Math.floor(index / 40)}-${isNew ? 201 : 200}.fc40`;
    const kversion = `${version}.x86_64`;
    const isRebuilt = night === 1 && index % 200 === 100;
    const package_ = (name: string) => ({
      name,
      version,
      architecture: "x86_64" as const,
      sha256: (isRebuilt ? "f" : "0").repeat(40) + String(index).padStart(24, "0"),
      size: 17_000_000,
      source: "fedora/updates",
      path: `updates/40/Everything/x86_64/Packages/k/${name}-${kversion}.rpm`,
    });
    yield {
      kversion,
      packageVersion: version,
      distribution: "fedora40",
      architecture: "x86_64",
      flavour: "generic",
      packages: {
        headers: [package_("kernel-devel")],
        crossTools: [],
        image: [package_("kernel-core")],
        modules: [package_("kernel-modules")],
      },
      sources: ["fedora/updates"],
      firstSeen: "2026-11-01T00:00:00Z",
      lastSeen: "2026-11-01T00:00:00Z",
    };
  }
}

function write(file: string, count: number, night: 0 | 1): void {
  const handle = openSync(file, "w");
  let chunk = "";
  for (const line of matrixLines(elementsOf(syntheticKernels(count, night), DRIVERS, MIRRORS))) {
    chunk += line;
    if (chunk.length > 1 << 20) {
      writeSync(handle, chunk);
      chunk = "";
    }
  }
  writeSync(handle, chunk);
  closeSync(handle);
}

/** One size in a process of its own, so that its peak memory is its own. */
async function measure(count: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "kmodfarm-bench-"));
  try {
    const [before, after] = [join(folder, "before.json"), join(folder, "after.json")];
    const started = performance.now();
    write(before, count, 0);
    write(after, count, 1);
    const generated = performance.now();
    const found = { added: 0, changed: 0, removed: 0, unchanged: 0 };
    for await (const change of diffFiles(before, after)) {
      if (change.kind === "end") {
        found.removed = change.removed.length;
        found.unchanged = change.unchanged;
      } else found[change.kind]++;
    }
    const ended = performance.now();
    const peak = peakMiB();
    const seconds = (ended - started) / 1000;
    console.log(
      `${count} kernels: generate twice ${((generated - started) / 1000).toFixed(2)} s, diff ${((ended - generated) / 1000).toFixed(2)} s, ` +
        `${((seconds / count) * 1e6).toFixed(1)} µs and ${((peak / count) * 1024).toFixed(2)} KiB a kernel, peak ${peak.toFixed(0)} MiB, ` +
        `${(statSync(after).size / 2 ** 20).toFixed(0)} MiB a file; ${JSON.stringify(found)}`,
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

if (process.argv[2] === "--one") await measure(Number(process.argv[3]));
else {
  const largest = Number(process.argv[2] ?? 1_000_000);
  for (const count of [10_000, 100_000, 1_000_000].filter((size) => size <= largest)) {
    execFileSync(process.execPath, [fileURLToPath(import.meta.url), "--one", String(count)], {
      stdio: "inherit",
    });
  }
}
