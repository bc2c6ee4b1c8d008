/**
 * A distribution release's own kmod for the guest, with the libraries it needs: what inserts modules there is what does
 * on its nodes.
 */
import { basename, join } from "node:path";
import { markUsed } from "../../base/cache.ts";
import { FarmError } from "../../base/error.ts";
import { streamFile } from "../../base/read-stream.ts";
import type { Packing } from "../../formats/compressed-module.ts";
import type { CpioEntry } from "../../formats/cpio.ts";
import { readDynamicElf } from "../../formats/elf-dynamic.ts";
import { packageFormat } from "../../inputs/package-format.ts";
import { type Package, type VerifiedPackage, verified } from "../../kernel/kernel.ts";
import type { BootContext } from "./boot-image.ts";
import { keep, readKept } from "./kept.ts";

const KMOD = "kmod";
const KMOD_PATH = /^(?:usr\/)?bin\/kmod$/;
const LIBRARY_PATH = /^(?:usr\/)?lib\/(?:[^/]+\/)?(?:lib[^/]+\.so(?:\.[^/]*)?|lib[^/]+-[\d.]+\.so|ld-[^/]+)$/;

/**
 * kmod as files of an initramfs; undefined where no index lists one that is whole. Packages of the same release only:
 * libraries of two do not mix.
 * @throws as fetching does, but for packages that are nowhere
 */
export async function fetchKmod(
  guest: readonly Package[],
  context: BootContext,
  signal?: AbortSignal,
): Promise<readonly CpioEntry[] | undefined> {
  const release = guest.find(({ name }) => name === KMOD)?.source;
  const listed = new Map<string, VerifiedPackage>();
  for (const one of guest)
    if (one.name !== "busybox-static" && !listed.has(one.name) && isSibling(one.source, release))
      listed.set(one.name, verified(one));
  try {
    const files = await Promise.all([...listed.values()].map((one) => filesOf(one, context, signal)));
    return assembled(files.flat());
  } catch (thrown) {
    if (thrown instanceof FarmError && thrown.code === "NOT_FETCHABLE") return undefined;
    throw thrown;
  }
}

/** `debian/bookworm` and `debian/bookworm-security` are one release. */
function isSibling(source: string, release: string | undefined): boolean {
  const suite = (id: string) => id.split("/").at(-1)?.split("-")[0];
  return release !== undefined && suite(source) === suite(release);
}

/** What a kmod cannot open, as it says of itself (`+ZSTD +XZ -ZLIB`). */
export function unopenedBy(kmod: readonly CpioEntry[]): readonly Packing[] {
  const program = kmod.find(({ path }) => path === `usr/bin/${KMOD}`)?.content ?? "";
  const said = /[+-]ZSTD [+-]XZ [+-]ZLIB/.exec(Buffer.from(program).toString("latin1"))?.[0] ?? "";
  const words: Readonly<Record<Packing, string>> = { zst: "-ZSTD", xz: "-XZ", gz: "-ZLIB" };
  return (["zst", "xz", "gz"] as const).filter((packing) => said.split(" ").includes(words[packing]));
}

interface LibraryFile {
  readonly name: string;
  readonly bytes: Buffer;
}

/** What of a package may be needed, unpacked once. */
async function filesOf(
  wanted: VerifiedPackage,
  context: BootContext,
  signal: AbortSignal | undefined,
): Promise<LibraryFile[]> {
  const place = join(context.cache, "boot", `${wanted.sha256}-files`);
  const kept = await keptFiles(place);
  if (kept !== undefined) return kept;
  const file = await context.inputs.fetch(wanted, [], signal, "boot");
  const found = await streamFile(file, (body) =>
    packageFormat(wanted).readFiles(
      body,
      (path) => KMOD_PATH.test(path) || LIBRARY_PATH.test(path),
      () => false,
    ),
  );
  const files = found.map(({ path, content }) => ({ name: basename(path), bytes: content }));
  for (const { name, bytes } of files) await keep(join(place, name), bytes, context.scratch);
  await keep(join(place, COMPLETE), JSON.stringify(files.map(({ name }) => name)), context.scratch);
  return files;
}

/** Names what else is there, once all of it is. */
const COMPLETE = "complete";

/** Undefined unless every file is there as it was written. */
async function keptFiles(place: string): Promise<LibraryFile[] | undefined> {
  const list = await readKept(join(place, COMPLETE));
  if (list === undefined) return undefined;
  await markUsed(place);
  const names = JSON.parse(list.toString("utf8")) as string[];
  const files: LibraryFile[] = [];
  for (const name of names) {
    const bytes = await readKept(join(place, name));
    if (bytes === undefined) return undefined;
    files.push({ name, bytes });
  }
  return files;
}

/** kmod and all that it needs, each library under the name that it is asked for by. */
function assembled(files: readonly LibraryFile[]): CpioEntry[] | undefined {
  const program = files.find(({ name }) => name === KMOD);
  const start = program === undefined ? undefined : readDynamicElf(program.bytes);
  if (program === undefined || start?.interpreter === undefined) return undefined;
  const libraries = new Map(
    files.flatMap(({ name, bytes }) => {
      const read = name === KMOD ? undefined : readDynamicElf(bytes);
      return read === undefined ? [] : [[read.soname ?? name, { bytes, needed: read.needed }] as const];
    }),
  );
  const loader = libraries.get(basename(start.interpreter));
  if (loader === undefined) return undefined;
  const entries: CpioEntry[] = [
    { path: `usr/bin/${KMOD}`, mode: 0o100755, content: program.bytes },
    // It goes by the name that it is called by; some releases look for modules below /usr.
    { path: "usr/sbin/insmod", mode: 0o120777, content: "../bin/kmod" },
    { path: "usr/sbin/modprobe", mode: 0o120777, content: "../bin/kmod" },
    { path: "usr/lib/modules", mode: 0o120777, content: "../../lib/modules" },
    { path: start.interpreter.slice(1), mode: 0o100755, content: loader.bytes },
  ];
  const queue = [...start.needed];
  for (const known = new Set([basename(start.interpreter)]); queue.length > 0; ) {
    const name = queue.pop() as string;
    if (known.has(name)) continue;
    known.add(name);
    const library = libraries.get(name);
    if (library === undefined) return undefined;
    entries.push({ path: `usr/lib/${name}`, mode: 0o100755, content: library.bytes });
    queue.push(...library.needed);
  }
  return entries;
}
