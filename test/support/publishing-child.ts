/** A process that publishes again and again, for those who want to kill it. */
const source = (path: string) => JSON.stringify(new URL(`../../${path}`, import.meta.url).href);

/** What every publishing process needs: `openStore` is module text that makes `store`. */
export function publishingModule(openStore: string, work: string): string {
  return `
    ${openStore}
    import { makeElement } from ${source("test/support/elements.ts")};
    import { CATALOG, makeOutcome, putBlobs } from ${source("test/support/artifacts.ts")};
    import { publish } from ${source("src/registry/commit.ts")};
    import { nextState, OpenIndices } from ${source("src/registry/publish.ts")};
    const author = { who: "somebody", what: "run", now: () => new Date(), ...(globalThis.signing ?? {}) };
    const publishOne = async (element, content) => {
      await putBlobs(store, element, content);
      const change = (before) => ({ state: nextState(before, CATALOG, [makeOutcome(element, { content })]) });
      await publish(store, change, author);
    };
    ${work}`;
}

/** Module text by which all that is published gets notes and heads, by the key of a PEM. */
export function signingModule(pem: string): string {
  return `
    import { headMaker } from ${source("test/support/signed-store.ts")};
    import { testKeyFromPem } from ${source("test/support/notes.ts")};
    globalThis.signing = { head: headMaker({ get now() { return new Date(); } }, [testKeyFromPem(${JSON.stringify(pem)})]) };`;
}

/** Publishes an artifact of changing content, from a number on, and takes it back in between. */
export function endlessPublisher(openStore: string): string {
  return publishingModule(
    openStore,
    `
    console.log("here");
    const takesBack = (before) => {
      const open = new OpenIndices(before.indices);
      for (const index of before.indices) for (const entry of index.stable) open.takeBack(index, entry, ["taken back"]);
      return { state: { ...before, indices: open.closed() } };
    };
    for (let round = Number(process.argv[1]); ; round++) {
      if (round % 3 === 0) await publish(store, takesBack, author);
      else await publishOne(makeElement(), String(round % 900 + 100));
    }`,
  );
}

/** Publishes three contents of a driver of its own, and says so. */
export function threeOf(openStore: string, driver: string): string {
  return publishingModule(
    openStore,
    `
    for (const content of ["100", "101", "102"])
      await publishOne(makeElement({ driver: ${JSON.stringify(driver)} }), content);
    await store.close();
    console.log("done");`,
  );
}
