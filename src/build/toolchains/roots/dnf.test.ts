import { describe, expect, test } from "vitest";
import { dnfConfiguration } from "./dnf.ts";

const repository = (name: string, kind: "baseurl" | "mirrorlist" | "metalink", ...urls: string[]) => ({
  name,
  location: { kind, urls },
});

describe("what dnf is told", () => {
  test("is each repository with its places, and nothing of this machine's own", () => {
    const text = dnfConfiguration({
      repositories: [
        repository("BaseOS", "baseurl", "http://a.example/", "http://b.example/"),
        repository("updates", "metalink", "http://m.example/?arch=x86_64"),
      ],
    });

    expect(text).toContain("reposdir=/dev/null\n");
    expect(text).toContain("name=BaseOS\nbaseurl=http://a.example/ http://b.example/\ngpgcheck=0\n");
    expect(text).toContain("name=updates\nmetalink=http://m.example/?arch=x86_64\n");
  });

  test("is whose signature packages need, where somebody's is asked", () => {
    const text = dnfConfiguration({
      repositories: [repository("a", "baseurl", "http://a")],
      keyring: "/etc/key.asc",
    });

    expect(text).toContain("gpgcheck=1\ngpgkey=file:///etc/key.asc\n");
  });

  test.each(["http://a/\ngpgcheck=0", "http://a/\u0000"])(
    "is never a setting that a name brings along: %j",
    (url) => {
      expect(() => dnfConfiguration({ repositories: [repository("a", "baseurl", url)] })).toThrow(
        expect.objectContaining({ code: "CONFIG_INVALID" }),
      );
    },
  );
});
