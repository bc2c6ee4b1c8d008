import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { parseConfig } from "./config/index.ts";
import { sourceAt } from "./config/sources.ts";
import {
  catalogSources,
  leftOutSuites,
  listSources,
  namedBy,
  ownPlaces,
  packageSigners,
  readCredentials,
  toolchainMirror,
} from "./sources.ts";

const HOST = { main: "http://host.example/debian" };

function sourcesOf(yaml: string, base = "/etc/farm") {
  return parseConfig(`sources:\n  - ${yaml}`, "kmodfarm.yaml").sources.map((source) =>
    sourceAt(base, source),
  );
}

const look = (yaml: string) => sourcesOf(yaml).flatMap((source) => catalogSources(source, HOST));

/** `id url architectures` */
const words = (yaml: string) =>
  look(yaml).map((source) => {
    const place = source.kind === "apt" ? source.url : source.location.urls.join(" ");
    return `${source.id} ${place} ${source.architectures.join("+")}`;
  });

describe("apt sources", () => {
  test("are the suites of a release, of Debian at the host's own mirror", () => {
    expect(words("{kind: apt, releases: [debian12]}")).toEqual([
      "debian/bookworm http://host.example/debian x86_64+aarch64",
      "debian/bookworm-updates http://host.example/debian x86_64+aarch64",
      "debian/bookworm-security http://security.debian.org/debian-security x86_64+aarch64",
      "debian/bookworm-backports http://host.example/debian x86_64+aarch64",
    ]);
  });

  test("are kept apart by archive for Ubuntu, which the host's Debian mirror does not have", () => {
    expect(words("{kind: apt, releases: [ubuntu22.04], mirror: 'http://m.example/u'}")).toEqual([
      "ubuntu/jammy http://m.example/u x86_64",
      "ubuntu/jammy/ports http://ports.ubuntu.com/ubuntu-ports aarch64",
      "ubuntu/jammy-updates http://m.example/u x86_64",
      "ubuntu/jammy-updates/ports http://ports.ubuntu.com/ubuntu-ports aarch64",
      "ubuntu/jammy-security http://security.ubuntu.com/ubuntu x86_64",
      "ubuntu/jammy-security/ports http://ports.ubuntu.com/ubuntu-ports aarch64",
    ]);
    expect(words("{kind: apt, releases: [ubuntu20.04], portsMirror: 'http://p.example'}")).toContain(
      "ubuntu/focal-security/ports http://p.example aarch64",
    );
  });

  test("may be those of one architecture, and of no archive that has none of it", () => {
    const yaml = "{kind: apt, releases: [ubuntu22.04, debian14], architectures: [x86_64]}";

    expect(words(yaml).filter((line) => !/-(updates|security|backports)/.test(line))).toEqual([
      "ubuntu/jammy http://archive.ubuntu.com/ubuntu x86_64",
      "debian/forky http://host.example/debian x86_64",
    ]);
  });

  test("may be other suites than the release's own", () => {
    const yaml =
      "{kind: apt, releases: [ubuntu20.04], mirror: 'https://esm.example/infra', suites: [focal-infra-security], keyring: esm.gpg}";

    expect(words(yaml)).toEqual(["ubuntu/focal-infra-security https://esm.example/infra x86_64+aarch64"]);
    expect(look(yaml)).toMatchObject([{ keyring: "/etc/farm/esm.gpg", release: "ubuntu20.04" }]);
  });
});

describe("named suites", () => {
  test("keep their archives, and security is not left out in silence", () => {
    const both = "{kind: apt, releases: [debian12], suites: [bookworm, bookworm-security]}";
    const one = "{kind: apt, releases: [debian12], suites: [bookworm]}";

    expect(words(both)).toEqual([
      "debian/bookworm http://host.example/debian x86_64+aarch64",
      "debian/bookworm-security http://security.debian.org/debian-security x86_64+aarch64",
    ]);
    expect(leftOutSuites(sourcesOf(both))).toEqual([]);
    expect(leftOutSuites(sourcesOf(one))).toEqual([
      "sources: the suites of debian12 leave out bookworm-security, where fixed kernels appear first",
    ]);
    expect(leftOutSuites(sourcesOf("{kind: apt, releases: [debian12]}"))).toEqual([]);
    expect(leftOutSuites(sourcesOf(one.replace("}", ", upcoming: true}")))).toEqual([]);
  });
});

describe("toolchains", () => {
  const mirrorFor = (yaml: string, release: string, builder: "x86_64" | "aarch64" = "x86_64") =>
    toolchainMirror(sourcesOf(yaml), HOST, release, builder);

  test("of Debian come from the configured mirror, else from the host's own", () => {
    const main = { suite: "bookworm", components: ["main"] };
    const rest = { format: "deb", keyring: "/usr/share/keyrings/debian-archive-keyring.gpg" };

    expect(
      mirrorFor(
        "{kind: apt, releases: [debian12], mirror: 'http://m.example', acceptExpired: true}",
        "debian12",
      ),
    ).toEqual({
      ...rest,
      lines: [{ ...main, url: "http://m.example" }],
      acceptExpired: true,
    });
    expect(mirrorFor("{kind: rpm-md, release: fedora40}", "debian12")).toEqual({
      ...rest,
      lines: [{ ...main, url: "http://host.example/debian" }],
      acceptExpired: false,
    });
  });

  test("of Debian come from the source whose suites begin with the release, and not from one of others", () => {
    const sid =
      "{kind: apt, releases: [debiansid], mirror: 'http://m.example', acceptExpired: true, suites: SUITES}";

    expect(mirrorFor(sid.replace("SUITES", "[experimental, sid]"), "debiansid")).toMatchObject({
      lines: [{ suite: "sid", url: "http://m.example" }],
      acceptExpired: true,
    });
    expect(mirrorFor(sid.replace("SUITES", "[experimental]"), "debiansid")).toMatchObject({
      lines: [{ suite: "sid", url: "http://host.example/debian" }],
      acceptExpired: false,
    });
  });

  test("of Ubuntu come with its updates, each architecture from its archive", () => {
    const linesOf = (builder: "x86_64" | "aarch64") => {
      const mirror = mirrorFor(
        "{kind: apt, releases: [ubuntu22.04], suites: [jammy-infra], mirror: 'http://esm.example'}",
        "ubuntu22.04",
        builder,
      );
      return mirror.format === "deb"
        ? mirror.lines.map(({ url, suite, components }) => [url, suite, ...components].join(" "))
        : [];
    };

    expect(linesOf("x86_64")).toEqual([
      "http://archive.ubuntu.com/ubuntu jammy main universe",
      "http://archive.ubuntu.com/ubuntu jammy-updates main universe",
      "http://security.ubuntu.com/ubuntu jammy-security main universe",
    ]);
    expect(linesOf("aarch64").map((line) => line.split(" ")[0])).toEqual(
      Array.from({ length: 3 }, () => "http://ports.ubuntu.com/ubuntu-ports"),
    );
  });

  test("of rpm distributions come from their configured repositories, else from the public ones", () => {
    expect(
      mirrorFor(
        "{kind: rpm-md, release: almalinux9.4, baseurl: 'http://m.example/$basearch/', keyring: key.asc}",
        "almalinux9.4",
        "aarch64",
      ),
    ).toEqual({
      format: "rpm",
      version: "9.4",
      trust: {
        kind: "signed",
        keys: {
          what: "almalinux9.4",
          file: "/etc/farm/key.asc",
          urls: ["https://repo.almalinux.org/almalinux/RPM-GPG-KEY-AlmaLinux-9"],
          fingerprints: ["BF18AC2876178908D6E71267D36CB86CB86B3716"],
        },
        signsMetadata: true,
      },
      repositories: [
        { name: expect.any(String), location: { kind: "baseurl", urls: ["http://m.example/aarch64/"] } },
      ],
    });
    const open = mirrorFor("{kind: apt, releases: [debian12]}", "almalinux9.4");
    expect(open.format === "rpm" && open.repositories.map(({ name }) => name)).toEqual([
      "BaseOS",
      "AppStream",
      "RT",
      "NFV",
    ]);
    expect(open).toMatchObject({
      trust: { kind: "signed", keys: { fingerprints: ["BF18AC2876178908D6E71267D36CB86CB86B3716"] } },
    });
  });

  test.each<[string, string, object]>([
    ["fedora45", "", { kind: "signed", signsMetadata: false, keys: { fingerprints: [expect.any(String)] } }],
    ["rocky9.6", "", { kind: "signed", signsMetadata: true }],
    ["fedora36", "", { kind: "unknown" }],
    ["fedora36", "allowUnsigned: true, baseurl: 'https://m.example/'", { kind: "unsigned" }],
    ["fedora36", "keyUrl: 'https://m.example/key'", { kind: "signed", keys: { fingerprints: [] } }],
    [
      "almalinux9.4",
      `fingerprints: ['${"ab12 ".repeat(10)}']`,
      { kind: "signed", keys: { fingerprints: ["AB12".repeat(10)] }, signsMetadata: false },
    ],
  ])("of %s trust whom the product or the configuration names: %s", (release, words, trust) => {
    const source = `{kind: rpm-md, release: ${release}${words === "" ? "" : `, ${words}`}}`;

    expect(mirrorFor(source, release)).toMatchObject({ trust });
  });

  test.each<[string, string, readonly string[] | undefined]>([
    ["almalinux9.4", "{kind: apt, releases: [debian12]}", ["BF18AC2876178908D6E71267D36CB86CB86B3716"]],
    ["rhel9.4", "{kind: apt, releases: [debian12]}", ["567E347AD0044ADE55BA8A5F199E2F91FD431D51"]],
    [
      "almalinux9.4",
      `{kind: rpm-md, release: almalinux9.4, fingerprints: ['${"ab12".repeat(10)}']}`,
      ["AB12".repeat(10)],
    ],
    [
      "almalinux9.5",
      `{kind: rpm-md, release: almalinux9.4, fingerprints: ['${"ab12".repeat(10)}']}`,
      ["BF18AC2876178908D6E71267D36CB86CB86B3716"],
    ],
    ["fedora36", "{kind: rpm-md, release: fedora36}", undefined],
    ["fedora36", "{kind: rpm-md, release: fedora36, keyUrl: 'https://m.example/key'}", undefined],
    [
      "almalinux9.4",
      "{kind: rpm-md, release: almalinux9.4, allowUnsigned: true, baseurl: 'https://m.example/'}",
      undefined,
    ],
    ["debian12", "{kind: apt, releases: [debian12]}", undefined],
    ["unknown", "{kind: apt, releases: [debian12]}", undefined],
  ])("of kernels of %s count with %s by whose signatures of packages", (release, source, fingerprints) => {
    expect(packageSigners(sourcesOf(source), release)?.fingerprints).toEqual(fingerprints);
  });

  test("of a release that only subscribers may read must be configured", () => {
    expect(() => mirrorFor("{kind: apt, releases: [debian12]}", "rhel9.4")).toThrow(
      expect.objectContaining({ code: "CONFIG_INVALID", message: expect.stringContaining("rhel9.4") }),
    );
  });
});

describe("rpm-md sources", () => {
  test("are the public repositories of a release, one for each architecture", () => {
    expect(words("{kind: rpm-md, release: amazonlinux2023}")).toEqual([
      "amazonlinux2023/core/x86_64 https://cdn.amazonlinux.com/al2023/core/mirrors/latest/x86_64/mirror.list x86_64",
      "amazonlinux2023/core/aarch64 https://cdn.amazonlinux.com/al2023/core/mirrors/latest/aarch64/mirror.list aarch64",
    ]);
    expect(words("{kind: rpm-md, release: almalinux9.17, architectures: [aarch64]}")[0]).toBe(
      "almalinux9.17/BaseOS/aarch64 https://repo.almalinux.org/almalinux/9.17/BaseOS/aarch64/os/ https://vault.almalinux.org/9.17/BaseOS/aarch64/os/ aarch64",
    );
  });

  test("are the one that is configured, for all architectures where its URL names none", () => {
    expect(words("{kind: rpm-md, release: rhel9.4, baseurl: 'https://m.example/r', name: mine}")).toEqual([
      "rhel9.4/mine https://m.example/r x86_64+aarch64",
    ]);
    const [one, two] = words("{kind: rpm-md, release: rhel9.4, mirrorlist: 'https://m.example/$basearch'}");
    expect(one).toMatch(/^rhel9\.4\/repository-[0-9a-f]{8}\/x86_64 https:\/\/m\.example\/x86_64 x86_64$/);
    expect(two).toMatch(/\/aarch64 https:\/\/m\.example\/aarch64 aarch64$/);
  });

  test("are signed where the distribution signs them or somebody names a keyring", () => {
    const [plain] = look("{kind: rpm-md, release: fedora40}");
    const [signed] = look("{kind: rpm-md, release: fedora40, keyring: keys/fedora.asc, acceptExpired: true}");

    const [rocky] = look("{kind: rpm-md, release: rocky9.4}");
    const [open] = look(
      "{kind: rpm-md, release: rocky9.4, baseurl: 'https://m.example/', allowUnsigned: true}",
    );

    expect(plain).not.toHaveProperty("keys");
    expect(signed).toMatchObject({ keys: { file: "/etc/farm/keys/fedora.asc" }, acceptExpired: true });
    expect(rocky).toMatchObject({ keys: { fingerprints: ["21CB256AE16FC54C6E652949702D426D350D275D"] } });
    expect(open).not.toHaveProperty("keys");
  });
});

describe("what is refused", () => {
  test.each([
    ["{kind: rpm-md, release: rhel9.4}", /rhel9\.4 has no public repository.*baseurl/],
    ["{kind: rpm-md, release: debian12}", /debian12 must have the kind apt/],
    ["{kind: apt, releases: [fedora40]}", /fedora40 must have the kind rpm-md/],
    [
      "{kind: rpm-md, release: almalinux9}",
      /sources\[0\]\.release: 'almalinux9' is not a distribution release/,
    ],
    [
      "{kind: apt, releases: [debian12, bookworm]}",
      /sources\[0\]\.releases\[1\]: 'bookworm' is not a distribution release \(did you mean 'debian12'\?\)$/,
    ],
    ["{kind: apt, releases: [debian]}", /'debian' is not .*; there are debian11, debian12/],
    [
      "{kind: apt, releases: [plan9]}",
      /'plan9' is not .*; a key is a distribution's name and version, of debian,/,
    ],
    [
      "{kind: rpm-md, release: fedora40, baseurl: 'http://a.example', metalink: 'http://b.example'}",
      /exclude each other/,
    ],
    ["{kind: rpm-md, release: fedora40, baseurl: 'ftp://a.example'}", /sources\[0\]\.baseurl/],
    ["{kind: yum, release: fedora40}", /sources\[0\]\.kind/],
    [
      "{kind: rpm-md, release: fedora40, baseurl: 'http://a.example', allowUnsigned: true}",
      /allowUnsigned.*https/,
    ],
    [
      "{kind: rpm-md, release: fedora40, mirrorlist: 'https://a.example', allowUnsigned: true}",
      /allowUnsigned.*https/,
    ],
    ["{kind: rpm-md, release: fedora40, keyring: a.asc, allowUnsigned: true}", /exclude each other/],
    ["{kind: rpm-md, release: fedora40, fingerprints: [DEADBEEF]}", /fingerprints/],
    ["{kind: rpm-md, release: fedora40, bsaeurl: x}", /did you mean 'baseurl'/],
    ["{kind: rpm-md, release: fedora40, credentials: {tokenFile: a}}", /need a `baseurl`/],
    ["{kind: apt, releases: [debian12], credentials: {tokenFile: a}}", /need a `mirror`/],
    [
      "{kind: rpm-md, release: fedora40, baseurl: 'http://a.example', credentials: {user: me}}",
      /either `user`/,
    ],
    ["{kind: apt, releases: [debian12], credentials: {tokenFile: a, user: me}}", /either `user`/],
    [
      "{kind: apt, releases: [debian12], credentials: {user: me, password: x}}",
      /there is no setting "password" \(did you mean 'passwordFile'\?\)/,
    ],
  ])("%s", (yaml, expected) => {
    expect(() => look(yaml)).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
    expect(() => look(yaml)).toThrow(expected);
  });

  test("a password in a URL, without quoting it", () => {
    for (const field of ["baseurl", "mirrorlist", "metalink"]) {
      const text = `{kind: rpm-md, release: fedora40, ${field}: 'https://me:hunter2@a.example/'}`;
      expect(() => look(text)).toThrow(/use `credentials`/);
      expect(() => look(text)).not.toThrow(/hunter2/);
    }
  });
});

describe("readCredentials", () => {
  const read = async (yaml: string, files: Record<string, string>) => {
    const base = await temporaryDirectory();
    for (const [name, text] of Object.entries(files)) await writeFile(join(base, name), text);
    return readCredentials({ sources: sourcesOf(yaml, base), drivers: [], base });
  };
  const RPM = "kind: rpm-md, release: rhel9.4, baseurl: 'https://cdn.example/content/$basearch/os'";

  test("makes what each server wants to hear, and shows it to nobody", async () => {
    const basic = await read(`{${RPM}, credentials: {user: me, passwordFile: pw}}`, { pw: "hunter2\n" });
    const token = await read(
      "{kind: apt, releases: [ubuntu20.04], mirror: 'https://esm.example/infra', securityMirror: 'https://s.example', credentials: {tokenFile: t}}",
      { t: "abc" },
    );

    expect(basic.map(({ url, authorization }) => [url, authorization.reveal()])).toEqual([
      ["https://cdn.example/content/", `Basic ${Buffer.from("me:hunter2").toString("base64")}`],
    ]);
    expect(token.map(({ url, authorization }) => [url, authorization.reveal()])).toEqual([
      ["https://esm.example/infra", "Bearer abc"],
      ["https://s.example", "Bearer abc"],
    ]);
    expect(inspect(basic, { depth: 9 }) + JSON.stringify(basic)).not.toMatch(/hunter2|bWU6/);
  });

  test("are none where none are configured", async () => {
    expect(await read(`{${RPM}}`, {})).toEqual([]);
  });

  test.each([
    ["no file", {}, "FILE_UNREADABLE"],
    ["an empty file", { pw: "\n" }, "CONFIG_INVALID"],
    ["two lines", { pw: "hunter2\nhunter3" }, "CONFIG_INVALID"],
    ["a control character", { pw: "hunter2\0x" }, "CONFIG_INVALID"],
  ])("names the file when there is %s, and never what is in it", async (_, files, code) => {
    const refused = await read(`{${RPM}, credentials: {user: me, passwordFile: pw}}`, files).catch(
      (thrown: unknown) => thrown,
    );

    expect(refused).toMatchObject({ code, message: expect.stringContaining("/pw") });
    expect(inspect(refused)).not.toMatch(/hunter/);
  });
});

describe("what goes over plain http", () => {
  const secret = "credentials: {user: me, passwordFile: pw}";
  const parse = (source: string) => parseConfig(`sources: [${source}]`, "kmodfarm.yaml");

  test.each([
    `{kind: rpm-md, release: fedora40, baseurl: 'http://a.example/', ${secret}}`,
    `{kind: apt, releases: [debian12], mirror: 'https://a.example', securityMirror: 'http://b.example', ${secret}}`,
    `{kind: kernel-crawler, list: 'http://a.example/list.json', ${secret}}`,
  ])("is no password, unless somebody writes so: %s", (source) => {
    expect(() => parse(source)).toThrow(/would be sent over plain http.*overHttp: true/);
    expect(() => parse(source.replace("passwordFile: pw", "passwordFile: pw, overHttp: true"))).not.toThrow();
    expect(() => parse(source.replaceAll("http://", "https://"))).not.toThrow();
    expect(() => parse(source.replaceAll(/http:\/\/[ab].example/g, "http://127.0.0.1:8080"))).not.toThrow();
  });

  test("is no list that somebody vouches for", () => {
    const list = "{kind: kernel-crawler, list: 'http://a.example/list.json', trusted: true}";

    expect(() => parse(list)).toThrow(/trusted.*plain http/);
    expect(() => parse(list.replace("http:", "https:"))).not.toThrow();
    expect(() => parse(list.replace("http://a.example/", ""))).not.toThrow();
  });
});

describe("ids of the catalog", () => {
  test("are those of configured repositories, and of a list for each of its releases", () => {
    const lists = sourcesOf("{kind: kernel-crawler, list: l.json, name: paid}").flatMap(listSources);
    const repositories = look(
      "{kind: rpm-md, release: almalinux9.4, name: vendor, baseurl: 'https://r.example', architectures: [x86_64]}",
    );
    const ids = ["paid/debian12", "almalinux9.4/vendor", "paid", "paider/debian12", "import:paid/debian12"];

    expect(ids.filter(namedBy(repositories, lists))).toEqual(["paid/debian12", "almalinux9.4/vendor"]);
  });
});

describe("places of one's own", () => {
  test("are those that the configuration and the host's apt name", () => {
    const config = parseConfig(
      "{privateHosts: [mirror.lan, '10.0.0.5:8080'], sources: [{kind: kernel-crawler, list: 'https://a.example/l.json'}], drivers: [{name: x, versions: [1.0.0], source: {url: 'https://d.example/{version}.tar', sha256: " +
        `${"a".repeat(64)}}}]}`,
      "kmodfarm.yaml",
    );

    expect(ownPlaces(config, HOST)).toEqual([
      ...["mirror.lan", "10.0.0.5:8080", "https://a.example/l.json"],
      ...["https://d.example/{version}.tar", "http://host.example/debian"],
    ]);
  });

  test.each(["", "http://a", "a b", "a/b", "user@a", "a:b"])("are no host: '%s'", (host) => {
    expect(() => parseConfig(JSON.stringify({ privateHosts: [host] }), "kmodfarm.yaml")).toThrow(
      /privateHosts/,
    );
  });
});
