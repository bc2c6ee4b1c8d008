/** Debian's own cosign, of two releases, shut in without a network: what it says of a bundle. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { architecture, hostArchitecture } from "../../src/kernel/architecture.ts";
import type { Identity } from "../../src/provenance/builder.ts";
import { startMirror, TEST_CACHE } from "./e2e-mirror.ts";
import { withLock } from "./lock.ts";

/** 2.5.0 wants a trusted root, and without one asks the network for it: an empty one says that no log is trusted. */
export const COSIGNS = {
  trixie: { options: ["--new-bundle-format", "--trusted-root", "root.json"] },
  sid: { options: [] },
} as const;
/** Of the tables that compare them with us. */
export const COLUMNS = ["", "cosign of trixie", "cosign of sid", "kmodfarm"];
export type CosignSuite = keyof typeof COSIGNS;

const EMPTY_ROOT = { mediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1" };

/** The suite's program, unpacked from its package; fetched once. */
export async function cosignOf(suite: CosignSuite): Promise<string> {
  const place = join(TEST_CACHE, "cosign", suite);
  const program = join(place, "usr/bin/cosign");
  await withLock(join(TEST_CACHE, `cosign-${suite}.lock`), async () => {
    if (existsSync(program)) return;
    const mirror = await startMirror();
    try {
      const read = async (path: string) =>
        Buffer.from(await (await fetch(`${mirror.main}/${path}`)).arrayBuffer());
      const { debian } = architecture(hostArchitecture(process.arch));
      const packed = await read(`dists/${suite}/main/binary-${debian}/Packages.xz`);
      const index = execFileSync("xz", ["-dc"], { input: packed, maxBuffer: 1 << 30 }).toString();
      const paragraph = /^Package: cosign\n(?:.+\n)+/m.exec(index)?.[0] ?? "";
      const file = /^Filename: (.+)$/m.exec(paragraph)?.[1];
      if (file === undefined) throw new Error(`${suite} has no package cosign`);
      const temporary = `${place}.part`;
      await rm(temporary, { recursive: true, force: true });
      await mkdir(temporary, { recursive: true });
      await writeFile(join(temporary, "cosign.deb"), await read(file));
      execFileSync("dpkg-deb", ["-x", join(temporary, "cosign.deb"), temporary]);
      await rm(join(temporary, "cosign.deb"));
      await rm(place, { recursive: true, force: true });
      await rename(temporary, place);
    } finally {
      await mirror.stop();
    }
  });
  return program;
}

export interface Asked {
  readonly bundle: string;
  /** What to verify with: a key in PEM, or an identity and the roots that show it. */
  readonly key: string | (Identity & { readonly roots: string });
  /** The file that the bundle must be about. */
  readonly blob: Uint8Array;
}

/** Whether it accepts a bundle; and what it says otherwise. */
export async function askCosign(
  suite: CosignSuite,
  directory: string,
  { bundle, key, blob }: Asked,
): Promise<{ readonly isAccepted: boolean; readonly words: string }> {
  const program = await cosignOf(suite);
  const place = await mkdtemp(join(directory, "cosign-"));
  const isKey = typeof key === "string";
  const files = {
    ...{ "bundle.json": bundle, blob },
    ...(isKey ? { "key.pem": key, "root.json": JSON.stringify(EMPTY_ROOT) } : { "root.json": key.roots }),
  };
  const by = isKey
    ? ["--key", "key.pem", "--insecure-ignore-tlog", ...COSIGNS[suite].options]
    : [
        ...["--certificate-identity", key.subject, "--certificate-oidc-issuer", key.issuer],
        ...["--new-bundle-format", "--trusted-root", "root.json"],
      ];
  for (const [name, content] of Object.entries(files)) await writeFile(join(place, name), content);
  const said = spawnSync(
    "bwrap",
    [
      ...[
        "--unshare-all",
        "--die-with-parent",
        "--clearenv",
        "--setenv",
        "HOME",
        "/mnt",
        "--ro-bind",
        "/",
        "/",
      ],
      ...["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--bind", place, "/mnt", "--chdir", "/mnt"],
      ...[program, "verify-blob-attestation", "--bundle", "bundle.json", ...by],
      ...["--type", "slsaprovenance1", "blob"],
    ],
    { encoding: "utf8", timeout: 60_000 },
  );
  return { isAccepted: said.status === 0, words: `${said.stdout}${said.stderr}`.trim() };
}
