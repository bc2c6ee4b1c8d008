/** A small apt repository made while the tests run, signed with a key that lives as long as they do. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll } from "vitest";
import type { ListedPackage } from "../../src/kernel/distributions/distribution.ts";
import { startServer } from "./server.ts";

export interface SigningKey {
  /** Keyring file as gpgv reads it. */
  readonly keyring: string;
  /** The same in ASCII armour. */
  readonly armoured: string;
  /** Of the primary key, as configurations name it. */
  readonly fingerprint: string;
  /** Signs packages of rpm in their places; `options` are rpmsign's. */
  signRpms(files: readonly string[], ...options: readonly string[]): void;
  /** gpg with the secret key, in its home. */
  readonly gpg: (args: readonly string[], input?: string | Uint8Array) => Buffer;
  readonly home: string;
  /** The text as InRelease files carry it. */
  sign(text: string): string;
  /** A signature of its own, as repomd.xml has one. */
  signBeside(text: string): string;
}

/** Makes a key for the tests of one file; `options` are gpg's. */
export function makeSigningKey(
  algorithm: "ed25519" | "rsa2048" = "ed25519",
  ...options: readonly string[]
): SigningKey {
  // gpg talks to its agent by a socket in this directory, whose path must be short.
  const home = mkdtempSync("/tmp/kmodfarm-gpg-");
  afterAll(() => {
    execFileSync("gpgconf", ["--homedir", home, "--kill", "all"]);
    rmSync(home, { recursive: true, force: true });
  });
  const gpg = (args: readonly string[], input: string | Uint8Array = "") =>
    execFileSync("gpg", ["--homedir", home, "--batch", "--quiet", "--passphrase", "", ...args], {
      input,
      stdio: ["pipe", "pipe", "pipe"],
    });
  const text = (args: readonly string[], input = "") => gpg(args, input).toString();
  gpg([...options, "--quick-generate-key", "Archive <archive@mirror.example>", algorithm, "sign", "never"]);
  const keyring = join(home, "keyring.gpg");
  gpg(["--output", keyring, "--export"]);
  const armoured = join(home, "keyring.asc");
  gpg(["--armor", "--output", armoured, "--export"]);
  const listed = text(["--with-colons", "--list-keys"]);
  const fingerprint = /^fpr:+([0-9A-F]{40}):/m.exec(listed)?.[1] ?? "";
  return {
    keyring,
    armoured,
    fingerprint,
    signRpms: (files, ...options) =>
      execFileSync(
        "rpmsign",
        [
          "--addsign",
          ...options,
          "--define",
          `_gpg_name ${fingerprint}`,
          "--define",
          `_gpg_path ${home}`,
          "--define",
          "__gpg /usr/bin/gpg",
          ...files,
        ],
        { stdio: ["ignore", "ignore", "pipe"] },
      ),
    ...{ gpg, home },
    sign: (document) => text(["--clearsign"], document),
    signBeside: (document) => text(["--armor", "--detach-sign"], document),
  };
}

interface SuiteContent {
  readonly packages: readonly ListedPackage[];
  readonly date?: string;
  readonly validUntil?: string;
  /** What it calls itself, when that is not where it lies. */
  readonly codename?: string;
  readonly compression?: "xz" | "gz";
}

const DEBIAN_NAMES = { x86_64: "amd64", aarch64: "arm64", all: "all" };

/** Serves suites on the loopback interface, with ETags, for as long as one test runs, or as `atEnd` has it. */
export async function startRepository(key: SigningKey, atEnd?: (stop: () => void) => void) {
  const files = new Map<string, Buffer>();
  const server = await startServer(({ url, headers }, response) => {
    const content = files.get(decodeURIComponent((url ?? "").slice(1)));
    if (content === undefined) return response.writeHead(404).end();
    const etag = `"${createHash("sha256").update(content).digest("hex")}"`;
    if (headers["if-none-match"] === etag) return response.writeHead(304).end();
    return response.writeHead(200, { etag }).end(content);
  }, atEnd);
  return {
    url: server.url,
    /** Requests so far, the first slash left out. */
    requests: () => server.requests.map((path) => path.slice(1)),
    /** Path → bytes, to damage as a test likes. */
    files,
    publish(suite: string, content: SuiteContent): void {
      const { release, indices } = suiteFiles(suite, content);
      for (const [path, bytes] of indices) files.set(`dists/${suite}/${path}`, bytes);
      files.set(`dists/${suite}/InRelease`, Buffer.from(key.sign(release)));
    },
  };
}

function suiteFiles(suite: string, content: SuiteContent) {
  const compression = content.compression ?? "xz";
  const indices = (["x86_64", "aarch64"] as const).map((architecture): [string, Buffer] => {
    const own = content.packages.filter(
      (one) => one.architecture === architecture || one.architecture === "all",
    );
    const text = own.map(paragraphOf).join("\n");
    const bytes = execFileSync(compression === "xz" ? "xz" : "gzip", ["-c"], { input: text });
    return [`main/binary-${DEBIAN_NAMES[architecture]}/Packages.${compression}`, bytes];
  });
  return { release: releaseText(suite, content, indices), indices };
}

function releaseText(
  suite: string,
  content: Omit<SuiteContent, "packages">,
  indices: readonly [string, Buffer][],
): string {
  const release = [
    "Origin: Test",
    `Suite: ${suite}`,
    `Codename: ${content.codename ?? suite}`,
    `Date: ${content.date ?? "Sat, 07 Feb 2026 10:00:00 UTC"}`,
    ...(content.validUntil === undefined ? [] : [`Valid-Until: ${content.validUntil}`]),
    "SHA256:",
    ...indices.map(
      ([path, bytes]) => ` ${createHash("sha256").update(bytes).digest("hex")} ${bytes.length} ${path}`,
    ),
  ].join("\n");
  return `${release}\n`;
}

/** A whole repository of one suite, made of the packages in a directory: path → bytes. */
export function createAptRepository(key: SigningKey, suite: string, directory: string): Map<string, Buffer> {
  const names = readdirSync(directory).filter((name) => name.endsWith(".deb"));
  if (names.length === 0) throw new Error(`there is no package in ${directory}`);
  const packages = execFileSync("apt-ftparchive", ["packages", "."], {
    cwd: directory,
    stdio: ["ignore", "pipe", "pipe"],
  }).toString();
  const indices = [
    ["amd64", packages.replaceAll("Filename: ./", "Filename: pool/main/")],
    ["arm64", ""],
  ].flatMap(([architecture, text = ""]): [string, Buffer][] => [
    // apt itself takes a compressed index only where the plain one is listed too.
    [`main/binary-${architecture}/Packages`, Buffer.from(text)],
    [`main/binary-${architecture}/Packages.xz`, execFileSync("xz", ["-c"], { input: text })],
  ]);
  return new Map([
    [`dists/${suite}/InRelease`, Buffer.from(key.sign(releaseText(suite, {}, indices)))],
    ...indices.map(([path, bytes]): [string, Buffer] => [`dists/${suite}/${path}`, bytes]),
    ...names.map((name): [string, Buffer] => [`pool/main/${name}`, readFileSync(join(directory, name))]),
  ]);
}

function paragraphOf({ name, version, architecture, sha256, size, path, depends }: ListedPackage): string {
  return [
    `Package: ${name}`,
    `Version: ${version}`,
    `Architecture: ${DEBIAN_NAMES[architecture]}`,
    ...(depends === "" ? [] : [`Depends: ${depends}`]),
    `Filename: ${path}`,
    `Size: ${size}`,
    `SHA256: ${sha256}`,
    "",
  ].join("\n");
}
