/**
 * Makes one file of the client for nodes that have Node.js, which needs nothing beside it.
 *
 *     node scripts/node-client.ts [FILE]
 */
import { join } from "node:path";
import { build } from "rolldown";

const ROOT = join(import.meta.dirname, "..");

export async function bundleNodeClient(file: string): Promise<void> {
  await build({
    input: join(ROOT, "src/cli/node-client.ts"),
    platform: "node",
    output: { file, format: "esm", codeSplitting: false, banner: "#!/usr/bin/env node" },
    logLevel: "silent",
  });
}

if (import.meta.main) await bundleNodeClient(process.argv[2] ?? join(ROOT, "dist/kmodfarm-fetch.mjs"));
