import { describe, expect, test } from "vitest";
import { type Advisory, updateinfoReader } from "./updateinfo.ts";

function read(xml: string): Advisory[] {
  const found: Advisory[] = [];
  const reader = updateinfoReader("updateinfo.xml", /^kernel(-|$)/, (one) => found.push(one));
  for (let at = 0; at < xml.length; at += 100) reader.write(Buffer.from(xml.slice(at, at + 100)));
  reader.end();
  return found;
}

/** Of Amazon Linux 2023, shortened. */
const AMAZON = `<?xml version="1.0" ?>
<updates><update from="linux-security@amazon.com" status="final" type="security" version="1.4">
  <id>ALAS2023-2025-823</id><title>important: kernel</title><issued date="2025-01-30 03:53:00"/><updated date="2025-03-10 23:19:00"/>
  <severity>Important</severity><description>CVE-2000-0001 is in a text</description>
  <references><reference href="https://example/CVE-2024-36899" id="CVE-2024-36899" type="cve"/>
    <reference href="https://example/b" id="123" title="TRIAGE CVE-2024-36900 kernel: &lt;x&gt;" type="bugzilla"/></references>
  <pkglist><collection short="a"><name>A</name>
    <package name="kernel" epoch="0" version="6.1.127" release="135.201.amzn2023" arch="x86_64"><filename>k.rpm</filename></package>
    <package name="bpftool" epoch="0" version="6.1.127" release="135.201.amzn2023" arch="x86_64"/>
    <package name="kernel-devel" epoch="1" version="6.1.127" release="135.201.amzn2023" arch="aarch64"/>
  </collection></pkglist></update>
  <update type="security"><id>ALAS-2</id><pkglist><collection><package name="vim" version="9" release="1" arch="noarch"/></collection></pkglist></update>
</updates>`;

describe("updateinfo.xml", () => {
  test("gives advisories of wanted packages, with the CVEs that references name", () => {
    expect(read(AMAZON)).toEqual([
      {
        ...{ id: "ALAS2023-2025-823", type: "security", severity: "Important" },
        ...{ issued: "2025-01-30 03:53:00", updated: "2025-03-10 23:19:00" },
        cves: ["CVE-2024-36899", "CVE-2024-36900"],
        packages: [
          { name: "kernel", version: "6.1.127-135.201.amzn2023", architecture: "x86_64" },
          { name: "kernel-devel", version: "1:6.1.127-135.201.amzn2023", architecture: "aarch64" },
        ],
      },
    ]);
  });

  test.each([
    ["cut off", AMAZON.slice(0, 900)],
    ["a document type", `<!DOCTYPE x [<!ENTITY a "b">]>${AMAZON.slice(22)}`],
    [
      "an advisory of too many packages",
      `<updates><update><id>A</id>${'<package name="kernel" version="1"/>'.repeat(20_001)}</update></updates>`,
    ],
  ])("with %s is refused", (_, xml) => {
    expect(() => read(xml)).toThrow(expect.objectContaining({ code: "REMOTE_UNAVAILABLE" }));
  });
});
