/** rpm packages and repositories made while the tests run, by the real rpmbuild and createrepo_c. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { join } from "node:path";
import { startServer } from "./server.ts";

export interface RpmPackage {
  readonly name: string;
  /** `uname -r` that it says it is for. */
  readonly release?: string;
}

export interface RpmBuild {
  /** `6.8.5-301.fc40` */
  readonly evr: string;
  readonly architecture: "x86_64" | "aarch64";
  readonly packages: readonly RpmPackage[];
}

/** Builds empty packages that say of themselves what real ones say, into `directory`. */
export function buildRpms(directory: string, { evr, architecture, packages }: RpmBuild): void {
  const [version = "", release = ""] = evr.split("-");
  const first = `Name: set\nVersion: ${version}\nRelease: ${release}\nSummary: test\nLicense: none\n%description\nTest\n`;
  const parts = packages.map(({ name, release: uname }) =>
    [
      `%package -n ${name}`,
      "Summary: test",
      // As Fedora's kernel.spec does it.
      ...(uname === undefined
        ? []
        : [
            `Provides: ${name}-uname-r = ${uname}`,
            `Provides: kernel-${name.split("-").at(-1)}-uname-r = ${uname}`,
          ]),
      "Provides: installonlypkg(kernel)",
      `%description -n ${name}`,
      'Words & <marks> that "XML" has to escape.',
      `%files -n ${name}`,
    ].join("\n"),
  );
  mkdirSync(directory, { recursive: true });
  const spec = join(directory, "set.spec");
  writeFileSync(spec, `${first}${parts.join("\n")}\n`);
  const top = join(directory, "rpmbuild");
  execFileSync(
    "rpmbuild",
    ["-bb", "--quiet", "--target", `${architecture}-linux`, "--define", `_topdir ${top}`, spec],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  const built = join(top, "RPMS", architecture);
  for (const file of readdirSync(built))
    cpSync(join(built, file), join(directory, "Packages", file[0] ?? "", file));
  rmSync(top, { recursive: true });
  rmSync(spec);
}

export interface RepositoryOptions {
  readonly compression?: "gz" | "xz" | "zstd";
  /** Seconds since 1970; what a repository without it says is the time now. */
  readonly revision?: number;
  /** An updateinfo.xml to record beside the packages. */
  readonly updateinfo?: string;
}

/** Makes the metadata of a directory of packages, and returns its files by path. */
export function createRepository(directory: string, options: RepositoryOptions = {}): Map<string, Buffer> {
  const { compression = "gz", revision, updateinfo } = options;
  // Debian's createrepo_c is older than its zstd: that one is made of its gzip, as createrepo_c names it.
  const own = compression === "zstd" ? "gz" : compression;
  const argv = ["--quiet", "--no-database", "--compress-type", own, "--general-compress-type", own];
  if (revision !== undefined) argv.push("--revision", String(revision), "--set-timestamp-to-revision");
  execFileSync("createrepo_c", [...argv, directory], { stdio: ["ignore", "pipe", "pipe"] });
  if (updateinfo !== undefined) {
    const file = join(directory, "updateinfo.xml");
    writeFileSync(file, updateinfo);
    execFileSync("modifyrepo_c", ["--compress-type", own, file, join(directory, "repodata")], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    rmSync(file);
  }
  const files = filesOf(directory);
  if (compression === "zstd") toZstd(files);
  return files;
}

function filesOf(directory: string): Map<string, Buffer> {
  const paths = readdirSync(directory, { recursive: true, encoding: "utf8" });
  return new Map(
    paths
      .filter((path) => statSync(join(directory, path)).isFile())
      .map((path) => [path, readFileSync(join(directory, path))]),
  );
}

function toZstd(files: Map<string, Buffer>): void {
  const [path, packed] = entryOf(files, "primary");
  const open = execFileSync("gzip", ["-dc"], { input: packed });
  files.delete(path);
  replacePrimary(files, execFileSync("zstd", ["-q", "-c"], { input: open }), "zst");
}

/** Path and bytes of one kind of metadata. */
export function entryOf(files: ReadonlyMap<string, Buffer>, kind: string): [string, Buffer] {
  const found = [...files].find(([path]) => path.includes(`-${kind}.xml`));
  if (found === undefined) throw new Error(`there is no ${kind}.xml`);
  return found;
}

const hex = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

/** Puts other compressed bytes in the place of primary.xml, with digests that fit them. */
export function replacePrimary(files: Map<string, Buffer>, packed: Buffer, ending: string): void {
  const old = [...files.keys()].find((path) => path.includes("-primary.xml"));
  if (old !== undefined) files.delete(old);
  const path = `repodata/${hex(packed)}-primary.xml.${ending}`;
  files.set(path, packed);
  editPrimary(files, (data) =>
    data
      .replace(/<checksum type="sha256">[^<]*/, `<checksum type="sha256">${hex(packed)}`)
      .replace(/<size>[^<]*/, `<size>${packed.length}`)
      .replace(/href="[^"]*"/, `href="${path}"`),
  );
}

/** Rewrites what repomd.xml says of primary.xml. */
export function editPrimary(files: Map<string, Buffer>, change: (data: string) => string): void {
  const repomd = files.get("repodata/repomd.xml")?.toString() ?? "";
  const edited = repomd.replace(/<data type="primary">[\s\S]*?<\/data>/, change);
  files.set("repodata/repomd.xml", Buffer.from(edited));
}

/** Serves files on the loopback interface, with ETags, until `atEnd` has it: by default for as long as one test runs. */
export async function serveFiles(
  files: Map<string, Buffer>,
  isAllowed: (request: IncomingMessage) => boolean = () => true,
  atEnd?: Parameters<typeof startServer>[1],
) {
  const server = await startServer((request, response) => {
    if (!isAllowed(request)) return response.writeHead(401).end();
    const path = new URL(request.url ?? "", "http://mirror.example").pathname.slice(1);
    const content = files.get(decodeURIComponent(path));
    if (content === undefined) return response.writeHead(404).end();
    const etag = `"${hex(content)}"`;
    if (request.headers["if-none-match"] === etag) return response.writeHead(304).end();
    return response.writeHead(200, { etag }).end(content);
  }, atEnd);
  return { url: server.url, files, requests: () => server.requests.map((path) => path.slice(1)) };
}

/** The same files below a directory. */
export function below(directory: string, files: ReadonlyMap<string, Buffer>): [string, Buffer][] {
  return [...files].map(([path, content]) => [join(directory, path), content]);
}
