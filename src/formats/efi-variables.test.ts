import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FarmError } from "../base/error.ts";
import { type EfiVariable, mokVariables, secureBootVariables, withVariables } from "./efi-variables.ts";

const STORE_AT = 72;
const STORE_BYTES = 8192;

/** Flash as EDK II leaves it: a volume's header, a store's header, and bytes that were never written. */
function emptyFlash(): Buffer {
  const flash = Buffer.alloc(STORE_AT + STORE_BYTES + 4096, 0xff);
  flash.fill(0, 0, STORE_AT);
  flash.write("_FVH", 40, "latin1");
  flash.writeUInt16LE(STORE_AT, 48);
  flash.set(Buffer.from("782cf3aa7b949a43a1802e144ec37792", "hex"), STORE_AT);
  flash.writeUInt32LE(STORE_BYTES, STORE_AT + 16);
  flash.set([0x5a, 0xfe, 0, 0, 0, 0, 0, 0], STORE_AT + 20);
  return flash;
}

/** A reader of its own: names, states and data, in their order. */
function variablesIn(flash: Buffer) {
  const found: { name: string; state: number; attributes: number; vendor: string; data: Buffer }[] = [];
  for (let at = STORE_AT + 28; flash.readUInt16LE(at) === 0x55aa; ) {
    const [name, data] = [flash.readUInt32LE(at + 36), flash.readUInt32LE(at + 40)];
    const text = flash.toString("utf16le", at + 60, at + 60 + name);
    found.push({
      ...{ name: text.replace(/\0$/, ""), state: flash[at + 2] ?? 0, attributes: flash.readUInt32LE(at + 4) },
      vendor: flash.toString("hex", at + 44, at + 60),
      data: flash.subarray(at + 60 + name, at + 60 + name + data),
    });
    at = Math.ceil((at + 60 + name + data) / 4) * 4;
  }
  return found;
}

const one = (data: string, name = "db"): EfiVariable => ({
  ...{ name, vendor: "d719b2cb-3d3a-4596-a3bc-dad00e67656f", attributes: 0x27, data: Buffer.from(data) },
});

describe("withVariables", () => {
  test("has what was enrolled, as lists of certificates", () => {
    const [owner, ours] = [Buffer.from("owner's"), Buffer.from("our certificate")];

    const found = variablesIn(
      withVariables(emptyFlash(), secureBootVariables(owner, [owner, ours]), "flash"),
    );

    expect(found.map(({ name, state, attributes }) => [name, state, attributes])).toEqual([
      ["PK", 0x3f, 0x27],
      ["KEK", 0x3f, 0x27],
      ["db", 0x3f, 0x27],
    ]);
    expect(found[2]?.vendor).toBe("cbb219d73a3d9645a3bcdad00e67656f");
    const db = found[2]?.data ?? Buffer.alloc(0);
    const first = db.readUInt32LE(16);
    expect(db.toString("hex", 0, 16)).toBe("a159c0a5e494a74a87b5ab155c2bf072");
    expect([first, db.readUInt32LE(20), db.readUInt32LE(24)]).toEqual([28 + 16 + 7, 0, 16 + 7]);
    expect(db.toString("latin1", 44, first)).toBe("owner's");
    expect(db.toString("latin1", first + 44)).toBe("our certificate");
  });

  test("keeps what was there, and replaces what has the same name", () => {
    const before = withVariables(emptyFlash(), [one("old"), one("other", "dbx")], "flash");

    const found = variablesIn(
      withVariables(before, [one("new"), ...mokVariables([Buffer.from("mok")])], "flash"),
    );

    expect(found.map(({ name, state, data }) => [name, state & 2, data.length])).toEqual([
      ["db", 0, 3],
      ["dbx", 2, 5],
      ["db", 2, 3],
      ["MokList", 2, 47],
    ]);
  });

  test("touches nothing behind the store", () => {
    const flash = withVariables(emptyFlash(), [one("x".repeat(8000))], "flash");

    expect(flash.subarray(STORE_AT + STORE_BYTES).every((byte) => byte === 0xff)).toBe(true);
    expect(() => withVariables(flash, [one("y".repeat(100))], "flash")).toThrow(/no room/);
  });

  test.each([
    ["nothing", Buffer.alloc(0), /no firmware volume/],
    ["zeros", Buffer.alloc(8192), /no firmware volume/],
    ["another store", emptyFlash().fill(7, STORE_AT, STORE_AT + 16), /no store of authenticated variables/],
    ["a cut store", emptyFlash().subarray(0, 4096), /longer than the file/],
  ])("refuses %s", (_, flash, fault) => {
    expect(() => withVariables(flash, [one("x")], "flash")).toThrow(fault);
  });

  test("answers any bytes with flash or one error", () => {
    const good = withVariables(emptyFlash(), [one("old")], "flash");
    fc.assert(
      fc.property(fc.nat(STORE_AT + 200), fc.uint8Array({ minLength: 1, maxLength: 8 }), (at, bytes) => {
        const flash = Buffer.from(good);
        flash.set(bytes, at);
        try {
          expect(withVariables(flash, [one("new")], "flash")).toHaveLength(flash.length);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(FarmError);
        }
      }),
    );
  });
});
