/** What kmod and binutils say of modules, against what we read in them. */
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { expect } from "vitest";
import { type Elf, readElf, SHF_ALLOC, SHT_NOBITS } from "../../src/formats/elf.ts";
import { type KernelModule, readKernelModule } from "../../src/formats/kernel-module.ts";

/** Everything of `.modinfo`, and what is told of signatures. */
export function compareWithModinfo(files: readonly string[]): void {
  const modules = files.map((file) => readKernelModule(readFileSync(file), file));
  const keys = new Set(modules.flatMap(({ modinfo }) => modinfo.map(([key]) => key)));
  // `parm` is the one field that modinfo does not show as it is: it adds the type.
  keys.delete("parm");
  for (const key of keys) {
    const ours = modules.flatMap(({ modinfo }) => modinfo.filter(([name]) => name === key));
    const said = execFileSync("modinfo", ["-0", "-F", key, ...files], { maxBuffer: 1 << 28 });
    const theirs = said.toString("utf8").split("\0").slice(0, -1);
    expect([key, ...theirs]).toEqual([key, ...ours.map(([, value]) => value)]);
  }
  compareSignatures(modules, files);
}

function compareSignatures(modules: readonly KernelModule[], files: readonly string[]): void {
  const said = (field: string) =>
    execFileSync("modinfo", ["-0", "-F", field, ...files])
      .toString("utf8")
      .split("\0")
      .slice(0, -1);
  const cms = modules.flatMap(({ signature }) => (signature?.kind === "pkcs7" ? [signature.cms] : []));
  const plain = (hex: string) => hex.replace(/[^0-9A-Fa-f]/g, "").toLowerCase();
  const serials = cms.map(({ signer }) => ("serial" in signer ? signer.serial : ""));
  expect(said("sig_id")).toEqual(cms.map(() => "PKCS#7"));
  expect(said("sig_key").map(plain)).toEqual(serials);
  expect(said("sig_hashalgo")).toEqual(cms.map(({ digest }) => digest));
  expect(said("signature").map(plain)).toEqual(cms.map((one) => Buffer.from(one.signature).toString("hex")));
}

/** The CRCs of what each module imports. */
export function compareWithModprobe(files: readonly string[]): void {
  for (const file of files) {
    // Its exit code is 1 for a module that has none.
    const said = spawnSync("modprobe", ["--dump-modversions", file]).stdout.toString("utf8");
    const { versions = new Map() } = readKernelModule(readFileSync(file), file);
    const ours = [...versions].map(([name, crc]) => `0x${crc.toString(16).padStart(8, "0")}\t${name}\n`);
    expect(ours.join(""), file).toBe(said);
  }
}

/** Build ids, build salts and compilers. */
export function compareNotes(files: readonly string[]): void {
  // Its exit code is 1 for properties of aarch64 that it does not know.
  const { stdout } = spawnSync("readelf", ["-n", "-p", ".comment", "-W", ...files], { maxBuffer: 1 << 28 });
  const parts = stdout.toString("utf8").split(/^File: .*$/m);
  const said = files.length === 1 ? parts : parts.slice(1);
  expect(said).toHaveLength(files.length);
  for (const [index, file] of files.entries()) {
    const { buildId, buildSalt, compilers } = readKernelModule(readFileSync(file), file);
    const text = said[index] ?? "";
    const salt = /Linux +0x[0-9a-f]+\tOPEN\t +description data: ([0-9a-f ]+)/.exec(text)?.[1];
    expect(/Build ID: ([0-9a-f]+)/.exec(text)?.[1], file).toBe(buildId);
    expect(salt?.trim(), file).toBe(
      salt && Buffer.from(`${buildSalt}\0`).toString("hex").replace(/..\B/g, "$& "),
    );
    const strings = [...text.matchAll(/^ +\[ *[0-9a-f]+\] {2}(.*)$/gm)].map(([, string]) => string);
    expect([...new Set(strings)], file).toEqual(compilers);
  }
}

/** Sections and symbols. */
export function compareStructure(files: readonly string[]): void {
  const output = execFileSync("readelf", ["-h", "-S", "-s", "-W", ...files], { maxBuffer: 1 << 30 });
  const parts = output
    .toString("latin1")
    .split(/^File: .*$/m)
    .filter((part) => part.trim() !== "");
  expect(parts).toHaveLength(files.length);
  for (const [index, file] of files.entries()) {
    const said = parts[index] ?? "";
    const elf = readElf(readFileSync(file), file);
    expect(sectionLines(elf), file).toEqual(saidSections(said));
    expect(symbolLines(elf), file).toEqual(saidSymbols(said, elf));
    const machine = /Machine: +(.*)/.exec(said)?.[1];
    expect(elf.machine, file).toBe(machine === "AArch64" ? 183 : 62);
  }
}

function sectionLines(elf: Elf): string[] {
  return elf.sections.map(({ name, type, flags, offset, size, link, info }) => {
    const kind = `${type === SHT_NOBITS ? "NOBITS" : ""} ${(flags & SHF_ALLOC) !== 0 ? "A" : ""}`;
    return `${name} ${kind} ${offset.toString(16)} ${size.toString(16)} ${link} ${info}`;
  });
}

function saidSections(said: string): string[] {
  const line =
    /^ +\[ *\d+\] (.*?) +([A-Z_][\w:]*) +[0-9a-f]{16} ([0-9a-f]+) ([0-9a-f]+) [0-9a-f]+ +([A-Za-z]*) +(\d+) +(\d+) +\d+$/gm;
  return [...said.matchAll(line)].map(([, name, type, offset, size, flags, link, info]) => {
    const kind = `${type === "NOBITS" ? "NOBITS" : ""} ${flags?.includes("A") ? "A" : ""}`;
    return `${name?.trim()} ${kind} ${hexadecimal(offset)} ${hexadecimal(size)} ${link} ${info}`;
  });
}

function symbolLines(elf: Elf): string[] {
  return elf.symbols.map(({ name, value, binding, section }) => {
    // As readelf shows control characters; the assembler's numbered labels have them.
    const shown = name.replaceAll(/\p{Cc}/gu, (c) => `^${String.fromCharCode(c.charCodeAt(0) + 64)}`);
    return `${value.toString(16)} ${binding} ${section} ${shown}`;
  });
}

function saidSymbols(said: string, elf: Elf): string[] {
  const bindings = ["LOCAL", "GLOBAL", "WEAK"];
  const special: Record<string, string> = { UND: "0", ABS: "65521", COM: "65522" };
  const line = /^ +[1-9]\d*: ([0-9a-f]{16}) +\S+ (\S+) +(\S+) +\S+ +(?:\[[^\]]*\] +)?(\w+)(?: (.*))?$/gm;
  return [...said.matchAll(line)].map(([, value, type, binding, place = "", name = ""]) => {
    const section = special[place] ?? place;
    // readelf shows a section's name where the symbol itself has none.
    const own = type === "SECTION" && elf.sections[Number(section)]?.name === name ? "" : name;
    return `${hexadecimal(value)} ${bindings.indexOf(binding ?? "")} ${section} ${own}`;
  });
}

function hexadecimal(digits: string | undefined): string {
  return BigInt(`0x${digits}`).toString(16);
}
