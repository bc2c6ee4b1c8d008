import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type JsonListItem,
  type JsonListLimits,
  type JsonMember,
  readJsonLists,
  readJsonMembers,
} from "./json-lists.ts";

const LIMITS: JsonListLimits = { totalBytes: 1 << 20, elementBytes: 1000, depth: 8, values: 100 };

async function* inPieces(text: string, size: number): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function read(text: string, size = 65_536, limits = LIMITS): Promise<JsonListItem[]> {
  const items: JsonListItem[] = [];
  for await (const item of readJsonLists(inPieces(text, size), "the list", limits)) items.push(item);
  return items;
}

const values = (items: readonly JsonListItem[]) =>
  items.map((item) => (item.kind === "element" ? item.value : item.reason));

describe("readJsonLists", () => {
  test("gives what JSON.parse gives, element by element, however the bytes come", async () => {
    const document = fc.dictionary(fc.string(), fc.array(fc.jsonValue({ maxDepth: 3 }), { maxLength: 5 }), {
      maxKeys: 4,
    });
    await fc.assert(
      fc.asyncProperty(document, fc.nat(9), fc.constantFrom(undefined, 2), async (value, piece, indent) => {
        const items = await read(JSON.stringify(value, null, indent), piece + 1, {
          ...LIMITS,
          elementBytes: 1e6,
        });

        const expected = Object.entries(
          JSON.parse(JSON.stringify(value)) as Record<string, unknown[]>,
        ).flatMap(([list, elements]) =>
          elements.map((element, index) => ({ kind: "element", list, index, value: element })),
        );
        expect(items).toEqual(expected);
      }),
    );
  });

  test.each<[string, string, readonly unknown[]]>([
    ["nothing", "{}", []],
    ["white space", ' {\n"a" :\t[ 1 , "]" ] }\r\n', [1, "]"]],
    ["a list of the same name again", '{"a":[1],"a":[2]}', [1, 2]],
    [
      "what is not a list",
      '{"a":{"b":[1]},"c":"[","d":7,"e":[1]}',
      ["is not a list", "is not a list", "is not a list", 1],
    ],
    [
      "what is no JSON",
      '{"a":[tru, 1, {"b"}, "\\x", 2]}',
      ["is not JSON", 1, "is not JSON", "is not JSON", 2],
    ],
    [
      "a name like a property of objects",
      '{"__proto__":[{"__proto__":{"x":1}}]}',
      [JSON.parse('{"__proto__":{"x":1}}')],
    ],
  ])("reads on through %s", async (_, text, expected) => {
    expect(values(await read(text, 3))).toEqual(expected);
  });

  test("drops what is too long, too deep or too much, and nothing else", async () => {
    const long = JSON.stringify("x".repeat(2000));
    const deep = `${"[".repeat(5000)}${"]".repeat(5000)}`;
    const many = `[${"1,".repeat(100)}1]`;
    const much = `[${"{},".repeat(100)}{}]`;
    const words = `["${",".repeat(300)}"]`;

    const items = await read(`{"a":[1,${long},2,${deep},3,{"b":${long}},4,${many},${much},${words}]}`, 100);

    expect(values(items)).toEqual([
      ...[1, "is longer than 1000 bytes", 2, "is nested more than 8 deep", 3, "is longer than 1000 bytes", 4],
      ...["has more than 100 values", "has more than 100 values", [",".repeat(300)]],
    ]);
  });

  test.each([
    ["", /is empty/],
    ["[1]", /\{ is missing at byte 0/],
    ["<html>", /not an object of lists/],
    ['{"a":[1,', /cut off after 8 bytes, in the list "a"/],
    ['{"a":["x', /cut off/],
    ['{"a":[1]', /cut off/],
    ['{"a":[1]} {}', /something behind its end/],
    ['{"a":[1}]', /, or \] is missing/],
    ["{1:[]}", /" is missing|not an object/],
    [`{"${"n".repeat(300)}":[]}`, /the name at byte \d+ cannot be read/],
    [`{"a":[${'"'}${"x".repeat(2 << 20)}`, /longer than the 1048576 bytes/],
  ])("refuses %j with one clear error", async (text, fact) => {
    await expect(read(text)).rejects.toMatchObject({
      code: "DOCUMENT_INVALID",
      message: expect.stringMatching(fact),
    });
  });

  test("gives a value or that one error for any bytes", async () => {
    const text = fc.oneof(
      fc.string(),
      fc.stringMatching(/^\{"a":\[[[\]{}",:\\1 a]{0,40}$/),
      fc
        .array(fc.constantFrom('{"a":[', "]", "}", ",", '"', "\\", "1", "[", "{", ":"), { maxLength: 30 })
        .map((all) => all.join("")),
    );
    await fc.assert(
      fc.asyncProperty(text, fc.nat(5), async (some, piece) => {
        const outcome = await read(some, piece + 1).catch((error: { code?: string }) => error.code);

        expect(Array.isArray(outcome) || outcome === "DOCUMENT_INVALID").toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  test("a string of a gigabyte is one error, in the memory of a chunk", async () => {
    const chunk = Buffer.alloc(1 << 20, "a");
    let given = 0;
    async function* gigabyte() {
      yield Buffer.from('{"a":["');
      for (; given < 1024; given++) yield chunk;
    }
    const before = process.memoryUsage().rss;

    const reading = (async () => {
      for await (const _ of readJsonLists(gigabyte(), "the list"));
    })();

    await expect(reading).rejects.toMatchObject({ code: "DOCUMENT_INVALID" });
    expect(given).toBeLessThan(520);
    expect(process.memoryUsage().rss - before).toBeLessThan(200e6);
  });
});

describe("readJsonMembers", () => {
  async function members(text: string, size = 65_536): Promise<JsonMember[]> {
    const found: JsonMember[] = [];
    const wants = (name: string) => name.startsWith("k");
    for await (const one of readJsonMembers(inPieces(text, size), "it", LIMITS, wants)) found.push(one);
    return found;
  }

  test("gives the members that are wanted as they stand, and passes over the others", async () => {
    const text = `{"a":${"[".repeat(50)}1${"]".repeat(50)}, "k1" : {"x": [1, "}"]} ,"b":{}, "k2":[7], "k3":8,"k3":"x"}`;

    for (const size of [1, 3, 1000])
      expect(
        (await members(text, size)).map((one) => [one.name, "text" in one && one.text.toString()]),
      ).toEqual([
        ["k1", '{"x": [1, "}"]}'],
        ["k2", "[7]"],
        ["k3", "8"],
        ["k3", '"x"'],
      ]);
  });

  test("names what is wanted and too much, and reads on", async () => {
    const [long, many] = [JSON.stringify("x".repeat(2000)), `[${"1,".repeat(100)}1]`];

    expect(await members(`{"a":${long},"k1":${long},"k2":${many},"k3":1}`)).toEqual([
      { kind: "bad", name: "k1", reason: "is longer than 1000 bytes" },
      { kind: "bad", name: "k2", reason: "has more than 100 values" },
      { kind: "member", name: "k3", text: Buffer.from("1") },
    ]);
  });

  test.each(["", "[1]", '{"k":', '{"k":1', '{"k" 1}', '{"k":1} x'])(
    "refuses %j with one clear error",
    async (text) => {
      await expect(members(text)).rejects.toMatchObject({ code: "DOCUMENT_INVALID" });
    },
  );
});
