import { describe, expect, test } from "vitest";
import type { PackageTrust } from "../../../catalog/signing-keys.ts";
import { dnfConfiguration } from "./dnf.ts";

const repository = (name: string, kind: "baseurl" | "mirrorlist" | "metalink", ...urls: string[]) => ({
  name,
  location: { kind, urls },
});

const SIGNED = {
  kind: "signed",
  signsMetadata: false,
  keys: { what: "almalinux9.4", urls: [], fingerprints: [] },
} as const;

describe("what dnf is told", () => {
  test("is each repository with its places, and nothing of this machine's own", () => {
    const text = dnfConfiguration("almalinux9.4", {
      trust: SIGNED,
      repositories: [
        repository("BaseOS", "baseurl", "http://a.example/", "http://b.example/"),
        repository("updates", "metalink", "http://m.example/?arch=x86_64"),
      ],
    });

    expect(text).toContain("reposdir=/dev/null\n");
    expect(text).toContain("name=BaseOS\nbaseurl=http://a.example/ http://b.example/\ngpgcheck=1\n");
    expect(text).toContain("name=updates\nmetalink=http://m.example/?arch=x86_64\n");
  });

  test.each([true, false])(
    "is whose signature packages need, and repomd.xml where it has one: %s",
    (signsMetadata) => {
      const text = dnfConfiguration("almalinux9.4", {
        repositories: [repository("a", "baseurl", "http://a")],
        trust: { ...SIGNED, signsMetadata },
      });

      expect(text).toContain(
        `gpgcheck=1\nrepo_gpgcheck=${signsMetadata ? 1 : 0}\ngpgkey=file:///work/keys.asc\n`,
      );
    },
  );

  test("is to take unsigned packages only where a person allowed that, and nobody is on the way", () => {
    const of = (trust: PackageTrust, ...places: Parameters<typeof repository>[]) =>
      dnfConfiguration("almalinux9.4", { trust, repositories: places.map((place) => repository(...place)) });
    const unsigned = { kind: "unsigned" } as const;
    const refused = expect.objectContaining({ code: "CONFIG_INVALID" });

    expect(of(unsigned, ["a", "baseurl", "https://a/"])).toContain("gpgcheck=0\n");
    expect(() => of({ kind: "unknown" }, ["a", "baseurl", "https://a/"])).toThrow(refused);
    expect(() => of({ kind: "unknown" }, ["a", "baseurl", "https://a/"])).toThrow(/fingerprints|signing key/);
    expect(() => of(unsigned, ["a", "baseurl", "https://a/", "HTTP://b/"])).toThrow(refused);
    expect(() => of(unsigned, ["a", "baseurl", "https://a/"], ["b", "baseurl", "http://b/"])).toThrow(
      /http:\/\/b/,
    );
    // Whatever the list of mirrors came by, the mirrors in it may be anybody's.
    expect(() => of(unsigned, ["a", "mirrorlist", "https://a/"])).toThrow(refused);
    expect(() => of(unsigned, ["a", "metalink", "https://a/"])).toThrow(refused);
  });

  test.each(["http://a/\ngpgcheck=0", "http://a/\u0000"])(
    "is never a setting that a name brings along: %j",
    (url) => {
      expect(() =>
        dnfConfiguration("almalinux9.4", { trust: SIGNED, repositories: [repository("a", "baseurl", url)] }),
      ).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
    },
  );
});
