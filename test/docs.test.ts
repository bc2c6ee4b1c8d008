import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { ERRORS } from "../src/base/error-codes.ts";
import { readDriverkit } from "../src/catalog/driverkit.ts";
import { CHECK_NAMES, CHECKS } from "../src/check/checks/index.ts";
import { COMMANDS } from "../src/cli/commands/index.ts";
import { Config, parseConfig } from "../src/farm/config/index.ts";

const read = (file: string) => readFileSync(join(import.meta.dirname, "..", file), "utf8");

describe("docs/errors.md", () => {
  const sections = read("docs/errors.md").split(/^## /m).slice(1);

  test("has each code once, in the catalogue's order, and no other", () => {
    expect(sections.map((section) => section.split("\n")[0])).toEqual(Object.keys(ERRORS));
  });

  test.each(Object.entries(ERRORS))("says of %s what the catalogue says", (code, { blame, exit, hint }) => {
    const section = sections.find((text) => text.startsWith(`${code}\n`)) ?? "";

    expect(section).toContain(hint);
    expect(section).toMatch(new RegExp(`\\b${blame}\\b`));
    expect(section).toMatch(new RegExp(`\\b${exit}\\b`));
  });
});

describe("docs/config.md", () => {
  const documented = [...read("docs/config.md").matchAll(/^- `([^`]+)`/gm)].map(([, key = ""]) => key);

  test("has every setting of the configuration, and no other", () => {
    const schema = z.toJSONSchema(Config, { io: "input" });

    expect(documented.toSorted()).toEqual(settingsOf(schema).toSorted());
    expect(documented).toContain("drivers[].versions");
  });

  test("docs/kmodfarm.schema.json has them too", () => {
    const published = JSON.parse(read("docs/kmodfarm.schema.json"));

    expect(settingsOf(published).toSorted()).toEqual(documented.toSorted());
  });
});

describe("docs/checks.md", () => {
  test("lists the checks in their order, and no others", () => {
    const [, table = ""] = read("docs/checks.md").split(/^\| check +\| asks.*$/m);
    const [listed = ""] = table.split(/\n\n/);

    expect([...listed.matchAll(/^\| `(\w+)` +\|/gm)].map(([, name]) => name)).toEqual(CHECK_NAMES);
  });

  test("names no other check as the one that finds a fault", () => {
    const [, table = ""] = read("docs/checks.md").split(/^\| fault +\| check.*$/m);
    const [listed = ""] = table.split(/\n\n/);
    const named = [...listed.matchAll(/\| (\w+)[^|]*\|$/gm)].map(([, name]) => name);

    expect(named.length).toBeGreaterThan(10);
    expect([...new Set(named)].filter((name) => !(CHECK_NAMES as readonly unknown[]).includes(name))).toEqual(
      [],
    );
  });

  test("and docs/policy.md say which are required where no policy says otherwise", () => {
    const required = CHECKS.flatMap(({ name, isDefault }) => (isDefault ? [name] : []));
    const said = `${required.slice(0, -1).join(", ")} and ${required.at(-1)}`;

    expect(read("docs/policy.md").replaceAll(/\s+/g, " ")).toContain(`policy of your own these are ${said}.`);
  });
});

describe("ARCHITECTURE.md", () => {
  const root = join(import.meta.dirname, "..");
  const places = globSync(["*.md", "{src,test,images,docs,deploy,scripts,bench}/**"], { cwd: root });
  const named = read("ARCHITECTURE.md").match(/\b[\w-]+(?:\/[\w.-]+)*(?:\.(?:ts|sh|md)\b|\/(?!\w))/g) ?? [];

  test("names files and folders that exist, by their whole path or its end", () => {
    const missing = named.filter((name) => {
      const place = name.replace(/\/$/, "");
      return !places.some((one) => one === place || one.endsWith(`/${place}`));
    });

    expect(named.length).toBeGreaterThan(100);
    expect([...new Set(missing)]).toEqual([]);
  });
});

describe("README.md", () => {
  test("names only commands that the Makefile has", () => {
    const named = [...read("README.md").matchAll(/\bmake ([a-z][a-z-]*)/g)].map(([, target]) => target);
    const targets = [...read("Makefile").matchAll(/^([a-z][a-z-]*):/gm)].map(([, target]) => target);

    expect(named).toEqual(expect.arrayContaining(["demo", "test"]));
    expect([...new Set(named)].filter((target) => !targets.includes(target))).toEqual([]);
  });
});

describe("docs/README.md", () => {
  const index = read("docs/README.md");
  const links = [...index.matchAll(/\]\(([^)#]+)[^)]*\)/g)].map(([, target = ""]) => target);

  test("leads to every page, and to none that is missing", () => {
    const pages = globSync("*.md", { cwd: join(import.meta.dirname, "../docs") });

    expect(links.filter((target) => !existsSync(join(import.meta.dirname, "../docs", target)))).toEqual([]);
    expect(pages.filter((page) => page !== "README.md" && !links.includes(page))).toEqual([]);
  });
});

describe("docs/commands.md", () => {
  test("names every command and every group of commands", () => {
    const rows = [...read("docs/commands.md").matchAll(/^\| (`(?:\\\||[^|])+`) +\|/gm)].map(
      ([, first = ""]) => first,
    );
    const named = rows.flatMap((row) => [...row.matchAll(/`([a-z]+)/g)].map(([, name]) => name));
    const missing = COMMANDS.map(({ name }) => name).filter((name) => !named.includes(name));

    expect(missing).toEqual([]);
  });
});

describe("docs/migrate.md", () => {
  const examples = [...read("docs/migrate.md").matchAll(/^```yaml\n(# .*)\n([\s\S]*?)^```$/gm)].map(
    ([, title = "", text = ""]) => ({ title, text }),
  );

  test("has configurations that a farm reads", () => {
    const ours = examples.filter(({ title }) => title.startsWith("# kmodfarm.yaml"));

    expect(ours.length).toBe(4);
    for (const { text } of ours) expect(parseConfig(text, "migrate.md").drivers.length).toBeGreaterThan(0);
  });

  test("has a configuration of driverkit that `catalog import` reads", () => {
    const theirs = examples.filter(({ title }) => title.startsWith("# config/"));
    const { kernels, dropped } = readDriverkit(
      theirs.map(({ title, text }) => ({ name: title.slice(2), text })),
      { url: "config" },
    );

    expect([kernels.length, dropped]).toEqual([1, []]);
  });
});

interface JsonSchema {
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly const?: unknown;
}

/** Names of all settings as the documentation writes them: `drivers[].name`, `select.newest`. */
function settingsOf(schema: unknown, prefix = ""): string[] {
  const { properties = {}, items, anyOf = [] } = schema as JsonSchema;
  const here = Object.entries(properties).flatMap(([key, value]) => [
    `${prefix}${key}`,
    // Alternatives that their kind tells apart.
    ...(value.items?.oneOf ?? []).flatMap((one) =>
      settingsOf(one, `${prefix}${key}[kind: ${String(one.properties?.kind?.const)}].`),
    ),
    ...settingsOf(value, `${prefix}${key}${value.items?.properties === undefined ? "" : "[]"}.`),
  ]);
  // A selection or several of them: the same settings, documented once.
  const inside = [items, ...anyOf].flatMap((one) => (one === undefined ? [] : settingsOf(one, prefix)));
  return [...new Set([...here, ...inside])];
}

describe("docs/security.md", () => {
  const text = read("docs/security.md").replaceAll(/\s+/g, " ");
  const named = [...text.matchAll(/`((?:src|test)\/[\w./-]+\.ts)`(?: "([^"]+)")?/g)];

  test("names tests that exist, by titles that they have", () => {
    expect(named.length).toBeGreaterThan(50);
    const missing = named.filter(([, file = "", title = ""]) => {
      const path = join(import.meta.dirname, "..", file);
      return !existsSync(path) || !readFileSync(path, "utf8").replaceAll(/\s+/g, " ").includes(title);
    });

    expect(missing.map(([all]) => all)).toEqual([]);
  });

  test("leads to pages that exist", () => {
    const links = [...text.matchAll(/\]\(([^)]+)\)/g)].map(([, target = ""]) => target);

    expect(links.filter((target) => !existsSync(join(import.meta.dirname, "../docs", target)))).toEqual([]);
  });
});
