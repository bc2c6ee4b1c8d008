import { describe, expect, test } from "vitest";
import { makeOutcome, NOTHING, putBlobs } from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import { makeCatalog, makeKernel } from "../../test/support/kernels.ts";
import { showPublished } from "../../test/support/published.ts";
import { around } from "../../test/support/scripted-store.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { sha256 } from "../base/json.ts";
import { blobPath } from "./blobs.ts";
import { AMBIGUOUS_NAMES, CLIENT_VIEW, clientFiles } from "./client-view.ts";
import type { Published } from "./documents.ts";
import { type FsckOptions, fsck } from "./fsck.ts";
import { readPublished } from "./generations.ts";
import { prune } from "./prune.ts";
import { nextState } from "./publish.ts";
import { openFolderStore } from "./stores/folder.ts";
import type { Store } from "./stores/store.ts";

const NOW = new Date("2026-02-07T00:00:00Z");
const FOLDER = `${CLIENT_VIEW}/doorbell/0.1.1/x86_64`;
const GENERIC = { distribution: "debian12", kversion: "6.1.0-56-amd64", packageVersion: "6.1.170-3" };
const GENERIC_FILE = `${FOLDER}/doorbell_debian_6.1.170-3-amd64_1.ko`;
/** Its own headers: another kernel than one of the same words. */
const ownHeaders = (name: string) => ({
  packages: {
    ...makeKernel().packages,
    headers: [{ ...makeKernel().packages.headers[0], name, sha256: sha256(name).slice(7) }],
  } as ReturnType<typeof makeKernel>["packages"],
});

type Kernel = { readonly distribution: string; readonly kversion: string; readonly packageVersion: string };

/** A state in which every kernel has an artifact of its own. */
function stateOf(...kernels: readonly (Kernel & Partial<ReturnType<typeof makeKernel>>)[]): Published {
  const catalog = makeCatalog(kernels.map((one) => makeKernel(one)));
  const outcomes = kernels.map((one) =>
    makeOutcome(makeElement({ ...one }), { content: `for ${one.distribution} ${one.packageVersion}` }),
  );
  return nextState(NOTHING, catalog, outcomes);
}

const namesIn = (state: Published) => [...clientFiles(state).keys()];
const listIn = (state: Published) => {
  const file = clientFiles(state).get(AMBIGUOUS_NAMES);
  return file?.kind === "names" ? file.text : undefined;
};

describe("names for others' clients", () => {
  test.each([
    ["Debian", GENERIC, ["debian_6.1.170-3-amd64_1"]],
    [
      "a cloud kernel of Debian",
      { distribution: "debian13", kversion: "6.12.9+deb13-cloud-amd64", packageVersion: "6.12.9-1" },
      ["debian_6.12.9-1-cloud-amd64_1"],
    ],
    [
      "backports, by what falcoctl asks for too",
      { distribution: "debian12", kversion: "6.12.9+bpo-amd64", packageVersion: "6.12.9-1~bpo12+1" },
      ["debian_6.12.9-1~bpo12+1-amd64_1", "debian_6.12.9-1-amd64_1"],
    ],
    [
      "Ubuntu",
      { distribution: "ubuntu22.04", kversion: "5.15.0-26-generic", packageVersion: "5.15.0-26.26~22.04.1" },
      ["ubuntu-generic_5.15.0-26-generic_26~22.04.1"],
    ],
    [
      "Red Hat, which driverkit and falcoctl call differently",
      { distribution: "rhel9.4", kversion: "5.14.0-427.el9.x86_64", packageVersion: "5.14.0-427.el9" },
      ["redhat_5.14.0-427.el9.x86_64_1", "rhel_5.14.0-427.el9.x86_64_1"],
    ],
  ])("are those of %s", (_, kernel, names) => {
    const state = stateOf({ ...kernel, flavour: "generic" });

    expect(namesIn(state)).toEqual([...names.map((one) => `${FOLDER}/doorbell_${one}.ko`), AMBIGUOUS_NAMES]);
    expect(listIn(state)).toBe("");
  });

  test("that several kernels share are of no file, and are listed with them", () => {
    const backport = {
      ...{
        distribution: "debian11",
        kversion: "6.1.0-0.deb11.56-amd64",
        packageVersion: "6.1.170-3~deb11u1",
      },
      ...ownHeaders("linux-headers-backport"),
    };
    const state = stateOf({ ...GENERIC, ...ownHeaders("linux-headers") }, backport);

    expect(namesIn(state)).toEqual([
      `${FOLDER}/doorbell_debian_6.1.170-3~deb11u1-amd64_1.ko`,
      AMBIGUOUS_NAMES,
    ]);
    expect(listIn(state)).toBe(
      `${GENERIC_FILE} debian11/x86_64/6.1.0-0.deb11.56-amd64_6.1.170-3~deb11u1 debian12/x86_64/6.1.0-56-amd64_6.1.170-3\n`,
    );
  });

  test("that a kernel without any artifact shares are ambiguous too: its node would get the other's modules", () => {
    const state = stateOf({ ...GENERIC, ...ownHeaders("linux-headers") });
    const page16k = makeKernel({
      ...{ ...GENERIC, kversion: "6.1.0-56-amd64-16k" },
      ...ownHeaders("linux-headers-16k"),
    });
    const catalog = { ...state.catalog, kernels: [...state.catalog.kernels, page16k] };

    expect(namesIn({ ...state, catalog })).not.toContain(GENERIC_FILE);
    expect(listIn({ ...state, catalog })).toContain(`${GENERIC_FILE} `);
  });

  test("that two releases share for the very same packages are of one file", () => {
    const state = stateOf(
      { ...GENERIC, distribution: "debian14" },
      { ...GENERIC, distribution: "debiansid" },
    );

    expect(namesIn(state)).toEqual([GENERIC_FILE, AMBIGUOUS_NAMES]);
  });
});

const ONE = makeElement({ ...GENERIC });
const stateWith = (content: string, isStable = true) => {
  const outcome = makeOutcome(ONE, { content });
  return nextState(NOTHING, makeCatalog([makeKernel(GENERIC)]), [
    { ...outcome, artifact: { entry: outcome.artifact?.entry ?? never(), isStable } },
  ]);
};
function never(): never {
  throw new Error("no artifact");
}

async function openStore(...contents: string[]): Promise<Store> {
  const store = await openFolderStore(await temporaryDirectory());
  for (const content of contents) await putBlobs(store, ONE, content);
  return store;
}
const LOOK: FsckOptions = { isFull: true, isRepair: false, copyOf: async () => undefined };
const shownIn = async (store: Store) => String(await store.read(GENERIC_FILE));

describe("the view for others' clients", () => {
  test("is there once somebody wants it, and stays whoever publishes", async () => {
    const store = await openStore("one", "two");
    await showPublished(store, stateWith("one"), NOW);
    expect(await store.list(CLIENT_VIEW)).toEqual([]);

    await showPublished(store, stateWith("one"), NOW, true);
    expect(await shownIn(store)).toBe("module one");

    await showPublished(store, stateWith("two"), NOW);
    expect(await shownIn(store)).toBe("module two");

    await showPublished(store, stateWith("two", false), NOW);
    expect(await store.read(GENERIC_FILE)).toBeUndefined();
    expect(String(await store.read(AMBIGUOUS_NAMES))).toBe("");
  });

  test("is known to fsck and prune: what is missing, damaged or left over is repaired", async () => {
    const store = await openStore("one");
    await showPublished(store, stateWith("one"), NOW, true);
    const stray = `${FOLDER}/doorbell_debian_1-amd64_1.ko`;
    expect((await fsck(store, LOOK)).findings).toEqual([]);
    await store.write(GENERIC_FILE, "module 0ne");
    await store.remove(AMBIGUOUS_NAMES);
    await store.write(AMBIGUOUS_NAMES, "words\n");
    await store.write(stray, "left");

    const { findings } = await fsck(store, { ...LOOK, isRepair: true });

    const expected = [AMBIGUOUS_NAMES, stray, GENERIC_FILE].map((path) => ({ path, remedy: "repaired" }));
    expect(findings).toHaveLength(expected.length);
    for (const one of expected) expect(findings).toContainEqual(expect.objectContaining(one));
    expect((await fsck(store, LOOK)).findings).toEqual([]);
    expect(await shownIn(store)).toBe("module one");
    await prune(store, { keep: 1, graceMs: 0, now: NOW, isDryRun: false });
    expect((await fsck(store, LOOK)).findings).toEqual([]);
  });

  test("gives back a blob that is lost, and does not hide that it is", async () => {
    const store = await openStore("one");
    await showPublished(store, stateWith("one"), NOW, true);
    await store.remove(blobPath(sha256("module one")));

    const { findings } = await fsck(store, { ...LOOK, isRepair: true });

    expect(findings).toMatchObject([{ fact: "missing", remedy: "repaired" }]);
    expect((await fsck(store, LOOK)).findings).toEqual([]);
  });

  test("is finished by the next writer after a kill at whatever moment", async () => {
    for (let writes = 0, isKilled = true; isKilled; writes++) {
      const store = await openStore("one", "two");
      await showPublished(store, stateWith("one"), NOW, true);
      let left = writes;
      const dying = around(store, () => {
        if (left-- === 0) throw new Error("killed");
      });
      isKilled = await showPublished(dying, stateWith("two"), NOW).then(
        () => false,
        () => true,
      );

      const state = await readPublished(store);
      await showPublished(store, state, NOW);

      const [entry] = state.indices.flatMap(({ stable }) => stable);
      expect(sha256(await shownIn(store))).toBe(entry?.modules[0]?.digest);
    }
  });

  test("comes to the newest generation, whoever of two writers writes it last", async () => {
    for (let moment = 0; ; moment++) {
      const store = await openStore("one", "two", "three");
      await showPublished(store, stateWith("one"), NOW, true);
      let [count, isDone] = [0, false];
      const disturbed = around(store, async () => {
        if (count++ !== moment) return;
        isDone = true;
        await showPublished(store, stateWith("three"), NOW);
      });

      await showPublished(disturbed, stateWith("two"), NOW);
      if (!isDone) break;

      const [entry] = (await readPublished(store)).indices.flatMap(({ stable }) => stable);
      expect(sha256(await shownIn(store))).toBe(entry?.modules[0]?.digest);
    }
  });

  test("follows no mark out of its own directory", async () => {
    const store = await openStore("one");
    await showPublished(store, stateWith("one"), NOW, true);
    const files = [`${CLIENT_VIEW}/../generations/1/generation.json`];
    await store.write(
      "marks/0123456789abcdef.json",
      JSON.stringify({ schema: "kmodfarm.viewMark/1", places: [], files }),
    );

    await expect(showPublished(store, stateWith("one", false), NOW)).rejects.toThrow(
      expect.objectContaining({ code: "STORE_CORRUPT" }),
    );
  });
});
