/** Debian packages made by the real dpkg-deb. */
import { execFileSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

/** Packs files (path → content) into `<directory>/<name>.deb`, and returns its path. */
export async function makeDeb(
  directory: string,
  name: string,
  files: Readonly<Record<string, string | Uint8Array>>,
  compression: "xz" | "zstd" | "gzip" | "none" = "xz",
): Promise<string> {
  const tree = await mkdtemp(join(directory, "tree-"));
  await chmod(tree, 0o755);
  const control = `Package: ${name}\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: test\n`;
  for (const [path, content] of Object.entries({ "DEBIAN/control": control, ...files })) {
    await mkdir(dirname(join(tree, path)), { recursive: true });
    await writeFile(join(tree, path), content);
    // dpkg-deb wants scripts that can be run.
    if (/^DEBIAN\/(?:pre|post)/.test(path)) await chmod(join(tree, path), 0o755);
  }
  const file = join(directory, `${name}-${compression}.deb`);
  execFileSync("dpkg-deb", ["--root-owner-group", `-Z${compression}`, "--build", tree, file], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  await rm(tree, { recursive: true });
  return file;
}
