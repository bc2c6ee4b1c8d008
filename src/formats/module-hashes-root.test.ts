import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type KernelShape, kernelWithRoot } from "../../test/support/kernel-with-root.ts";
import { sharedDirectory } from "../../test/support/temporary.ts";
import { readModuleHashes } from "./module-hashes-root.ts";

const HASH = Buffer.from("a0c6908a671dbe4e1f2b4216f05ffa338756c8c73fb26995ebbf645d3f1c6136", "hex");
const SHAPES: readonly KernelShape[] = [
  { bits: 64, order: "little" },
  { bits: 64, order: "big" },
  { bits: 32, order: "little" },
  { bits: 32, order: "big" },
];

describe.each(SHAPES)("a kernel of $bits bits, $order end first,", (shape) => {
  const kernel = kernelWithRoot({ levels: 3, hash: HASH }, shape);

  test("holds the root, in the order of its target", () => {
    expect(readModuleHashes(kernel, "vmlinux")).toEqual({ kind: "root", levels: 3, hash: HASH });
  });

  test("is what readelf takes for one", () => {
    const file = join(place, "vmlinux");
    writeFileSync(file, kernel);

    expect(execFileSync("readelf", ["-SW", file]).toString()).toMatch(/\.module_hashes +PROGBITS .* 000024 /);
  });

  test("gives a value or MODULE_MALFORMED, wherever it is cut and whatever is written over it", () => {
    const look = (bytes: Uint8Array) => {
      try {
        return readModuleHashes(bytes, "vmlinux").kind;
      } catch (thrown) {
        expect(thrown).toMatchObject({ code: "MODULE_MALFORMED" });
        return "malformed";
      }
    };
    for (let length = 0; length < kernel.length; length++)
      expect(look(kernel.subarray(0, length))).not.toBe("root");
    fc.assert(
      fc.property(fc.nat(kernel.length - 1), fc.uint8Array({ minLength: 1, maxLength: 8 }), (at, bytes) => {
        const copy = Buffer.from(kernel);
        copy.set(bytes.subarray(0, copy.length - at), at);
        look(copy);
      }),
    );
  });
});

const place = sharedDirectory();

describe("a kernel", () => {
  const root = { levels: 3, hash: HASH };
  const of = (...given: Parameters<typeof kernelWithRoot>) =>
    readModuleHashes(kernelWithRoot(...given), "vmlinux");

  test("without the section knows no proofs", () => {
    expect(of(undefined)).toEqual({ kind: "none" });
  });

  test("that shows no sections says nothing", () => {
    expect(
      readModuleHashes(Buffer.from("MZ, an Image of arm64 that is long enough to be something"), "Image"),
    ).toEqual({
      kind: "noSections",
    });
    const kernel = kernelWithRoot(root);
    kernel.writeBigUInt64LE(0n, 40);
    expect(readModuleHashes(kernel, "vmlinux")).toEqual({ kind: "noSections" });
  });

  test.each([
    ["more levels than positions have bits", { root: { levels: 33, hash: HASH }, shape: {} }],
    ["a hash of another length", { root: { levels: 3, hash: HASH.subarray(1) }, shape: {} }],
    ["two such sections", { root, shape: { copies: 2 } }],
  ])("with %s is refused", (_, { root: odd, shape }) => {
    expect(() => of(odd, shape)).toThrow(expect.objectContaining({ code: "MODULE_MALFORMED" }));
  });

  test("of another class is refused", () => {
    const kernel = kernelWithRoot(root);
    kernel[4] = 3;

    expect(() => readModuleHashes(kernel, "vmlinux")).toThrow(/no ELF file of a known class/);
  });

  test("got its root from objcopy", () => {
    const [from, to, bytes] = ["from", "to", "bytes"].map((name) => join(place, name)) as [
      string,
      string,
      string,
    ];
    writeFileSync(from, kernelWithRoot(undefined));
    const levels = Buffer.alloc(4);
    levels.writeUInt32LE(3);
    writeFileSync(bytes, Buffer.concat([levels, HASH]));
    execFileSync("objcopy", ["--add-section", `.module_hashes=${bytes}`, from, to]);

    expect(readModuleHashes(readFileSync(to), "vmlinux")).toEqual({ kind: "root", levels: 3, hash: HASH });
  });
});
