import { join } from "node:path";
import { expect, test } from "vitest";
import { farmWith } from "../../../test/support/stored-farm.ts";
import { withoutPlaces } from "./places.ts";

test("a text names the farm's own directories by their names, the innermost first, and leaves others alone", async () => {
  const farm = await farmWith([]);
  const shown = withoutPlaces(farm);

  const text = `${join(farm.cache, "attempts/1")} ${join(farm.store.place, "view")} ${join(farm.config.base, "a.tar")} /build/a.c`;

  expect(shown(text)).toBe("$CACHE/attempts/1 $STORE/view $CONFIG/a.tar /build/a.c");
  expect(shown(`at ${farm.images}/build.sh`)).toBe("at $KMODFARM/images/build.sh");
});
