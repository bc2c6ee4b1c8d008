import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FarmError } from "../base/error.ts";
import { readXml, XmlReader } from "./xml.ts";

function eventsOf(text: string, step = Number.POSITIVE_INFINITY): string[] {
  const events: string[] = [];
  const reader = new XmlReader("it", {
    open: (name, attributes) => void events.push(`<${name} ${JSON.stringify(attributes)}`),
    close: (name, content) => void events.push(`${name}> ${content}`),
  });
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += step) reader.write(bytes.subarray(at, at + step));
  reader.end();
  return events;
}

describe("XmlReader", () => {
  const TEXT = `<?xml version="1.0"?><!-- c --><a:r x="1&amp;2"><b>é&lt;<![CDATA[<&>]]></b><c/>tail</a:r>`;

  test("gives elements without prefixes, with what stands in them", () => {
    expect(eventsOf(TEXT)).toEqual(['<r {"x":"1&2"}', "<b {}", "b> é<<&>", "<c {}", "c> ", "r> tail"]);
  });

  test("does not care where a document is cut into pieces", () => {
    const whole = eventsOf(TEXT);

    for (const step of [1, 2, 3, 7]) expect(eventsOf(TEXT, step)).toEqual(whole);
  });

  test.each([
    ["a document type", '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', /document type/],
    ["a document type of somewhere else", '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', /document type/],
    ["an unknown entity", "<a>&nbsp;</a>", /not well-formed/],
    ["33 levels", "<a>".repeat(33) + "</a>".repeat(33), /nested/],
    ["a long text", `<a>${"x".repeat(2_000_000)}</a>`, /without end/],
    ["a long text in pieces", `<a>${"<![CDATA[xxxxxxxxxxxxxxxx]]>".repeat(100_000)}</a>`, /without end/],
    ["a long comment", `<a><!--${"x".repeat(2_000_000)}--></a>`, /without end/],
    ["a long name", `<${"x".repeat(2_000_000)}/>`, /without end/],
    ["a long attribute", `<a b="${"x".repeat(2_000_000)}"/>`, /without end/],
    ["a long instruction", `<a><?${"x".repeat(2_000_000)}?></a>`, /without end/],
    ["two roots", "<a/><b/>", /not well-formed/],
    ["no root", "", /not well-formed/],
    ["no end", "<a>", /not well-formed/],
    ["NUL", "<a>\0</a>", /not well-formed/],
  ])("refuses %s", (_, text, words) => {
    expect(() => readXml(text, "it", {})).toThrow(
      expect.objectContaining({ code: "REMOTE_UNAVAILABLE", message: expect.stringMatching(words) }),
    );
  });

  test("takes 32 levels, and names that JavaScript has too", () => {
    expect(eventsOf("<a>".repeat(32) + "</a>".repeat(32))).toHaveLength(64);
    expect(eventsOf('<__proto__ constructor="x"/>')[0]).toBe('<__proto__ {"constructor":"x"}');
  });

  test("answers any bytes with events or one kind of error", () => {
    const pieces = fc.array(
      fc.oneof(
        fc.constantFrom("<", ">", "/", "<a>", "</a>", "&", ";", '"', "<!", "[CDATA[", "]]>", "<?", "a="),
        fc.string(),
      ),
    );

    fc.assert(
      fc.property(pieces, (parts) => {
        try {
          readXml(parts.join(""), "it", {});
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(FarmError);
          expect((thrown as FarmError).code).toBe("REMOTE_UNAVAILABLE");
        }
      }),
      { numRuns: 2000 },
    );
  });
});
