/**
 * Which userland a guest gets: a static busybox of its architecture, which every kernel runs. Its own release's
 * where there is one, else any other release's of the catalog, else this machine's own.
 */
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import type { GuestTools } from "../../catalog/catalog.ts";
import type { ArchitectureName } from "../../kernel/architecture.ts";
import type { KernelId, Package } from "../../kernel/kernel.ts";

/** Packages of the catalog with a userland for a kernel, the likeliest first. */
export function guestPackages(
  guests: readonly GuestTools[],
  { distribution, architecture }: Pick<KernelId, "distribution" | "architecture">,
): Package[] {
  const usable = guests.filter((guest) => guest.architecture === architecture);
  const own = usable.filter((guest) => guest.distribution === distribution);
  const others = usable.filter((guest) => guest.distribution !== distribution);
  return [...own, ...others].flatMap(({ packages }) => packages);
}

const HOST_BUSYBOX = ["/bin/busybox", "/usr/bin/busybox"];

/** This machine's own busybox, if it is static and of the architecture. */
export async function hostBusybox(
  architecture: ArchitectureName,
  places: readonly string[] = HOST_BUSYBOX,
): Promise<string | undefined> {
  for (const place of places) if (await isStatic(place, architecture)) return place;
  return undefined;
}

const ELF_MACHINES: Readonly<Record<ArchitectureName, number>> = { x86_64: 62, aarch64: 183 };
const HEADER_BYTES = 64;
const PROGRAM_HEADER_BYTES = 56;
const MAX_PROGRAM_HEADERS = 64;
const PT_INTERP = 3;

/** A 64-bit program that names no loader (gABI, chapter 5). */
async function isStatic(place: string, architecture: ArchitectureName): Promise<boolean> {
  const file = await open(place, constants.O_RDONLY).catch(() => undefined);
  if (file === undefined) return false;
  try {
    const header = Buffer.alloc(HEADER_BYTES);
    const { bytesRead } = await file.read(header, 0, HEADER_BYTES, 0);
    if (bytesRead < HEADER_BYTES || header.toString("latin1", 0, 6) !== "\x7fELF\x02\x01") return false;
    if (header.readUInt16LE(18) !== ELF_MACHINES[architecture]) return false;
    const [count, at] = [header.readUInt16LE(56), Number(header.readBigUInt64LE(32))];
    if (count === 0 || count > MAX_PROGRAM_HEADERS) return false;
    const programs = Buffer.alloc(count * PROGRAM_HEADER_BYTES);
    if ((await file.read(programs, 0, programs.length, at)).bytesRead < programs.length) return false;
    const types = Array.from({ length: count }, (_, index) =>
      programs.readUInt32LE(index * PROGRAM_HEADER_BYTES),
    );
    return !types.includes(PT_INTERP);
  } finally {
    await file.close();
  }
}
