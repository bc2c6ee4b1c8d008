/** rpm packages with files in them, made by the real rpmbuild. */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

export interface RpmContent {
  readonly version?: string;
  readonly release?: string;
  /** Path → content. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
  /** Further commands of %install; `$R` is the root. */
  readonly install?: string;
  /** Further lines of %files. */
  readonly list?: readonly string[];
  readonly architecture?: "noarch" | "x86_64" | "aarch64";
  readonly compression?: "gzip" | "xz" | "zstd" | "none";
  /** Lines for the head of the spec file. */
  readonly head?: readonly string[];
}

const PAYLOADS = { gzip: "w6.gzdio", xz: "w2.xzdio", zstd: "w3.zstdio", none: "w.ufdio" };

/** Builds one package into `directory`, and returns its path. */
export function makeRpm(directory: string, name: string, content: RpmContent = {}): string {
  const { version = "1", release = "1", files = {}, install = "", list = [], head = [] } = content;
  const { architecture = "noarch", compression = "gzip" } = content;
  const work = mkdtempSync(join(directory, "rpm-"));
  for (const [path, bytes] of Object.entries(files)) {
    mkdirSync(dirname(join(work, "files", path)), { recursive: true });
    writeFileSync(join(work, "files", path), bytes);
  }
  mkdirSync(join(work, "files"), { recursive: true });
  const spec = [
    "%global debug_package %{nil}",
    "%global __os_install_post %{nil}",
    "%global _build_id_links none",
    "AutoReqProv: no",
    ...[`Name: ${name}`, `Version: ${version}`, `Release: ${release}`, "Summary: test", "License: none"],
    ...head,
    ...[
      "%description",
      "test",
      "%install",
      "R=%{buildroot}",
      "mkdir -p $R",
      `cp -a ${work}/files/. $R`,
      install,
    ],
    ...["%files", ...Object.keys(files).map((path) => `"/${path}"`), ...list],
  ].join("\n");
  writeFileSync(join(work, "test.spec"), `${spec}\n`);
  const defines = [`_topdir ${work}`, `_binary_payload ${PAYLOADS[compression]}`].flatMap((one) => [
    "--define",
    one,
  ]);
  execFileSync(
    "rpmbuild",
    ["-bb", "--quiet", "--target", `${architecture}-linux`, ...defines, join(work, "test.spec")],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  const built = join(work, "RPMS", architecture);
  const [file = ""] = readdirSync(built);
  const target = join(directory, file);
  cpSync(join(built, file), target);
  rmSync(work, { recursive: true });
  return target;
}
