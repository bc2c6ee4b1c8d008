/**
 * What every kind of feed promises, whatever it is given: records of our types, the bad ones counted with a reason and the
 * first of each, one typed error at most, and an end.
 */
import { expect, test } from "vitest";
import { FarmError } from "../../src/base/error.ts";
import { type FeedContent, type FeedFile, type FeedKind, readFeed } from "../../src/gap/feeds/feed.ts";
import { readRecord } from "../../src/gap/records.ts";
import { damaged, randomFrom } from "../support/damage.ts";

export interface FeedSample {
  readonly kind: FeedKind;
  readonly files: readonly { readonly name: string; readonly text: string }[];
  readonly records: number;
  readonly date: string | undefined;
  /** It is JSON in which a name twice is to be refused. */
  readonly isJson: boolean;
}

const DAMAGED = 150;
const SEED = 20_261_129;
const CHUNK = Buffer.alloc(1024 * 1024, " ");
/** Larger than any limit. */
const ENDLESS_CHUNKS = 1200;

export function feedContract({ kind, files, records, date, isJson }: FeedSample): void {
  const [first] = files;
  if (first === undefined) throw new Error(`${kind.name} has no sample`);
  const given = (change: (bytes: Buffer) => Buffer = (bytes) => bytes): FeedFile[] =>
    files.map(({ name, text }) => ({ name, body: [change(Buffer.from(text))] }));

  test("has a name, a licence and an address that can be overridden", () => {
    expect(kind.name).toMatch(/^[a-z]+(-[a-z]+)*$/);
    expect(kind.licence).not.toBe("");
    expect(kind.address).toMatch(/^(https:\/\/|$)/);
  });

  test("reads its sample: every record once, in order, with the feed's own day", async () => {
    const content = await readFeed(kind, given());

    expect(content.bad).toEqual([]);
    expect(content.records).toHaveLength(records);
    expect(content.date).toBe(date);
    for (const record of content.records)
      expect(readRecord(JSON.parse(JSON.stringify(record)))).toEqual({ kind: "record", record });
  });

  test("does not care in how many pieces it comes", async () => {
    const pieces = files.map(({ name, text }) => ({ name, body: bytewise(Buffer.from(text)) }));

    expect(await readFeed(kind, pieces)).toEqual(await readFeed(kind, given()));
  });

  test("counts what is there twice", async () => {
    const { records: once } = await readFeed(kind, given());
    const twice = await readFeed(kind, [...given(), ...given()]);

    expect(twice.records).toEqual(once);
  });

  test("leaves files alone that are not its own", async () => {
    const others = [{ name: "README.md", body: [Buffer.from("# Readme\n")] }];

    await answered(readFeed(kind, others));
  });

  test.each([
    ["nothing", Buffer.alloc(0)],
    ["deep nesting", Buffer.from("[".repeat(100_000))],
    ["deep nesting of objects", Buffer.from('{"a":'.repeat(100_000))],
    ["bytes that are not UTF-8", Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d])],
    ["null", Buffer.from("null")],
    ["a number", Buffer.from("17")],
    ["another object", Buffer.from('{"a": {"b": [null, 1, "x"]}}')],
    ["a list of anything", Buffer.from('[null, 1, "x", [], {}]')],
  ])("answers %s", async (_, bytes) => {
    const content = await answered(readFeed(kind, [{ name: first.name, body: [bytes] }]));

    expect(content?.records ?? []).toEqual([]);
  });

  test("changes nothing of this program by names like __proto__", async () => {
    const text = first.text.replace(/\{/, '{"__proto__": {"polluted": true}, "constructor": {"x": 1}, ');

    await answered(readFeed(kind, [{ name: first.name, body: [Buffer.from(text)] }]));

    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });

  test.runIf(isJson)("takes no record in which a name stands twice", async () => {
    // One object further in, where there is one: of the outermost, a reader may pass over what it does not want.
    const text = first.text.replace(/\{[^{]*\{|\{/, '$&"twice": 1, "twice": 2, ');
    const content = await answered(
      readFeed(kind, [{ name: first.name, body: [Buffer.from(text)] }, ...given().slice(1)]),
    );

    expect(content?.bad.length ?? 1).toBeGreaterThan(0);
  });

  test("stops reading what does not end", async () => {
    let read = 0;
    const body = (function* () {
      for (; read < ENDLESS_CHUNKS; read++) yield CHUNK;
    })();

    await answered(readFeed(kind, [{ name: first.name, body }]));

    expect(read).toBeLessThan(ENDLESS_CHUNKS);
  });

  test("answers its sample however it is damaged", async () => {
    const random = randomFrom(SEED);
    for (let count = 0; count < DAMAGED; count++)
      await answered(
        readFeed(
          kind,
          given((bytes) => damaged(bytes, random)),
        ),
      );
  });
}

/** An answer, or the one kind of error. */
async function answered(answer: Promise<FeedContent>): Promise<FeedContent | undefined> {
  try {
    const content = await answer;
    for (const { count, first, reason } of content.bad) {
      expect(count).toBeGreaterThan(0);
      expect(first.length).toBeLessThanOrEqual(200);
      expect(reason).not.toBe("");
    }
    return content;
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(FarmError);
    expect((thrown as FarmError).blame).not.toBe("bug");
    return undefined;
  }
}

function* bytewise(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += 7) yield bytes.subarray(at, at + 7);
}
