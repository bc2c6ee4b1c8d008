import { describe, expect, test } from "vitest";
import { leftoversIn } from "./leftovers.ts";

/** A note of Kbuild's, of a tree that lay elsewhere then. */
const compiled = (target: string, source: string) =>
  `savedcmd_/home/dev/${target} := gcc-12 -Wp,-MMD -c -o /home/dev/${target} /home/dev/${source}\n\n` +
  `source_/home/dev/${target} := /home/dev/${source}\n\ndeps_/home/dev/${target} := \\\n  include/linux/a.h \\\n`;
const linked = (target: string, ...parts: readonly string[]) =>
  `cmd_/home/dev/${target} := ld -m elf_x86_64 -r -o /home/dev/${target} ${parts.map((part) => `/home/dev/${part}`).join(" ")} ; ./tools/objtool/objtool --hacks /home/dev/${target}\n`;

function leftIn(files: Readonly<Record<string, string>>): string[] {
  const isLeftover = leftoversIn(Object.keys(files), (path) => files[path]);
  return Object.keys(files).filter(isLeftover).toSorted();
}
/** What stays of a tree. */
const kept = (files: Readonly<Record<string, string>>) => {
  const left = leftIn(files);
  return Object.keys(files)
    .filter((path) => !left.includes(path))
    .toSorted();
};

describe("an object with a note of Kbuild's", () => {
  test.each([".c", ".S", ".rs", ".o_shipped"])("is left over beside its source %s", (end) => {
    const source = { [`sub/a${end}`]: "" };
    // Kbuild notes nothing of what it copies, so such a note was given with the source.
    const note = end === ".o_shipped" ? ["sub/.a.o.cmd"] : [];

    expect(kept({ ...source, "sub/a.o": "", "sub/.a.o.cmd": "" })).toEqual([...note, `sub/a${end}`]);
  });

  test.each([
    ["an empty one", ""],
    ["one that a vendor wrote", "savedcmd_vendor/engine.o := true\n"],
    ["Kbuild's own", compiled("vendor/engine.o", "vendor/engine.c")],
    ["Kbuild's own, of a source that lay elsewhere", compiled("vendor/engine.o", "secret/engine.c")],
    ["one of objects that are not there", linked("vendor/engine.o", "vendor/a.o", "vendor/b.o")],
  ])("is shipped, and so is the note, where its source is not there: %s", (_, note) => {
    const tree = { Kbuild: "", "wrap.c": "", "vendor/engine.o": "ELF", "vendor/.engine.o.cmd": note };

    expect(leftIn(tree)).toEqual([]);
  });

  test("is shipped where it was linked of objects that are shipped too", () => {
    const parts = { "v/a.o": "", "v/.a.o.cmd": "", "v/b.o": "", "v/.b.o.cmd": compiled("v/b.o", "v/b.c") };

    expect(leftIn({ ...parts, "v/all.o": "", "v/.all.o.cmd": linked("v/all.o", "v/a.o", "v/b.o") })).toEqual(
      [],
    );
  });

  test("is left over where its note names another source of the tree", () => {
    expect(leftIn({ "gen/a.c": "", "a.o": "", ".a.o.cmd": compiled("a.o", "gen/a.c") })).toEqual([
      ".a.o.cmd",
      "a.o",
    ]);
    expect(leftIn({ "fw.bin": "", "fw.o": "", ".fw.o.cmd": linked("fw.o", "fw.bin") })).toEqual([
      ".fw.o.cmd",
      "fw.o",
    ]);
  });

  test("that make could not read is left over: a build with it would end there", () => {
    expect(leftIn({ "a.o": "", ".a.o.cmd": "left" })).toEqual([".a.o.cmd", "a.o"]);
  });

  test("may name itself, or others in a circle", () => {
    const circle = {
      "a.o": "",
      ".a.o.cmd": linked("a.o", "b.o"),
      "b.o": "",
      ".b.o.cmd": linked("b.o", "a.o"),
    };

    expect(leftIn(circle)).toEqual([]);
  });

  test("may be the first of a chain without end", () => {
    const names = Array.from({ length: 3_000 }, (_, index) => `o${String(index).padStart(5, "0")}.o`);
    const files = names.flatMap((name, index) => [
      [name, ""] as const,
      [`.${name}.cmd`, linked(name, names[index + 1] ?? "a.c")] as const,
    ]);

    expect(leftIn(Object.fromEntries([...files, ["a.c", ""]])).length).toBeLessThanOrEqual(2 * names.length);
  });
});

describe("the object of a module of several files", () => {
  const parts = { "wrap.c": "", "wrap.o": "", ".wrap.o.cmd": compiled("wrap.o", "wrap.c") };
  const shipped = ["vendor/.engine.o.cmd", "vendor/engine.o"];
  const vendor = { "vendor/engine.o": "", "vendor/.engine.o.cmd": "" };

  test.each([
    ["by name", { ".drv.o.cmd": linked("drv.o", "wrap.o", "vendor/engine.o") }],
    [
      "in a list",
      {
        ".drv.o.cmd": "savedcmd_/home/dev/drv.o := ld -r -o /home/dev/drv.o @/home/dev/drv.mod \n",
        "drv.mod": "/home/dev/wrap.o\n/home/dev/vendor/engine.o\n",
        ".drv.mod.cmd": "",
      },
    ],
    [
      "in a list, by paths from its own directory",
      {
        ".drv.o.cmd": "savedcmd_drv.o := ld -r -o drv.o @drv.mod \n",
        "drv.mod": "wrap.o\nvendor/engine.o\n",
        ".drv.mod.cmd": "",
      },
    ],
  ])("is left over, and what is shipped of it stays: %s", (_, note) => {
    const tree: Record<string, string> = { Kbuild: "", ...parts, ...vendor, "drv.o": "", ...note };

    expect(kept(tree)).toEqual(["Kbuild", ...shipped, "wrap.c"]);
    const below = Object.fromEntries(Object.entries(tree).map(([path, text]) => [`deep/src/${path}`, text]));
    expect(kept(below)).toEqual(["Kbuild", ...shipped, "wrap.c"].map((path) => `deep/src/${path}`));
  });
});

describe("other files of a build", () => {
  test("are left over with their notes", () => {
    const names = ["drv.ko", "drv.mod", "drv.mod.o", "built-in.a", ".module-common.o", "sub/version.h"];
    const made = names.flatMap((path) => [path, path.replace(/([^/]+)$/, ".$1.cmd")]);
    const more = ["drv.mod.c", "modules.order", "sub/modules.order", ".drv.o.d", ".tmp_drv.o", ".gone.o.cmd"];

    expect(leftIn(Object.fromEntries([...made, ...more].map((path) => [path, ""])))).toEqual(
      [...made, ...more].toSorted(),
    );
  });

  test("are given with the source where Kbuild noted nothing", () => {
    const given = ["a.o", "tools/base.ko", "fw.o_shipped", "hand.mod.c", "libvendor.a", "symbols/a.mod"];

    expect(leftIn(Object.fromEntries(given.map((path) => [path, ""])))).toEqual([]);
  });

  test("are not the note of a shipped object that is not copied yet", () => {
    expect(leftIn({ "v/e.o_shipped": "", "v/.e.o.cmd": "" })).toEqual([]);
    expect(leftIn({ "v/e.o_shipped": "", "v/.e.o.cmd": "", "v/e.o": "" })).toEqual(["v/e.o"]);
  });

  test("are not a vendor's archive, unless it can be made again", () => {
    const archive = { "lib.a": "", ".lib.a.cmd": "cmd_lib.a := ar cDPrST lib.a x.o y.o\n" };

    expect(leftIn(archive)).toEqual([]);
    expect(leftIn({ ...archive, "x.o": "", "x.c": "", ".x.o.cmd": "", "y.o": "" })).toEqual([
      ".lib.a.cmd",
      ".x.o.cmd",
      "lib.a",
      "x.o",
    ]);
  });
});

describe("a list of symbols", () => {
  const order = { "modules.order": "" };

  test("is left over where a build's list of modules lies beside it, and a makefile", () => {
    expect(leftIn({ Makefile: "", "deep/a.c": "", "Module.symvers": "", ...order })).toEqual([
      "Module.symvers",
      "modules.order",
    ]);
    expect(
      leftIn({ "src/Kbuild": "", "src/a.S": "", "src/Module.symvers": "", "src/.Module.symvers.cmd": "" }),
    ).toEqual(["src/.Module.symvers.cmd", "src/Module.symvers"]);
  });

  test.each([
    ["alone at the top", { Makefile: "", "Module.symvers": "" }, ["Makefile", "Module.symvers"]],
    ["alone below", { Makefile: "", "vendor/Module.symvers": "" }, ["Makefile", "vendor/Module.symvers"]],
    [
      "where no source is",
      { "a.c": "", "v/Makefile": "", "v/Module.symvers": "", "v/modules.order": "", "v/b.mod.c": "" },
      ["a.c", "v/Makefile", "v/Module.symvers", "v/b.mod.c"],
    ],
    [
      "where nothing can be built",
      { Makefile: "", "vendor/Module.symvers": "", "vendor/modules.order": "" },
      ["Makefile", "vendor/Module.symvers"],
    ],
  ])("is given with the source %s", (_, tree, rest) => {
    expect(kept(tree)).toEqual(rest);
  });
});

describe("a tree of notes that refer to many things", () => {
  const LIST = "a.o\n".repeat(65_000);
  const seconds = (work: () => unknown) => {
    const start = performance.now();
    work();
    return (performance.now() - start) / 1000;
  };
  const notes = (count: number, command: string) =>
    Object.fromEntries(
      Array.from({ length: count }, (_, at) => [
        [`${at}.o`, ""],
        [`.${at}.o.cmd`, `cmd_${at}.o := ld ${command}\n`],
      ]).flat(),
    );

  test.each<[string, Readonly<Record<string, string>>]>([
    ["one list thousands of times", { "list.mod": LIST, ...notes(1, "@list.mod ".repeat(26_000)) }],
    [
      "one list by thousands of names",
      {
        "list.mod": LIST,
        ...notes(1, Array.from({ length: 9000 }, (_, at) => `@${"./".repeat(at % 90)}list.mod`).join(" ")),
      },
    ],
    ["one list from each of thousands", { "list.mod": LIST, ...notes(3000, "@list.mod") }],
    [
      "thousands of objects from each of hundreds",
      notes(300, Array.from({ length: 9000 }, (_, at) => `${at}.o`).join(" ")),
    ],
  ])("which name %s is read at once, and what was not looked at is input", (_, files) => {
    let reads = 0;
    const left: string[] = [];

    const taken = seconds(() => {
      const isLeftover = leftoversIn(Object.keys(files), (path) => {
        if (path === "list.mod") reads++;
        return files[path];
      });
      left.push(...Object.keys(files).filter(isLeftover));
    });

    expect(left).toEqual([]);
    expect(reads).toBeLessThanOrEqual(1);
    // On a machine of this kind it is less than half a second; it was minutes, and all of the memory.
    expect(taken).toBeLessThan(10);
  });

  test("of a real size is known whole", () => {
    const names = Array.from({ length: 5000 }, (_, at) => `drivers/gpu/part-${at}`);
    const tree = Object.fromEntries(names.map((name) => [`${name}.c`, ""]));
    const made = {
      "all.mod": names.map((name) => `/home/dev/${name}.o\n`).join(""),
      "all.o": "",
      ".all.o.cmd": linked("all.o").replace(" ;", " @/home/dev/all.mod ;"),
      ...Object.fromEntries(names.map((name) => [`${name}.o`, ""])),
    };

    expect(leftIn({ ...tree, ...made })).toContain("all.o");
  });
});
