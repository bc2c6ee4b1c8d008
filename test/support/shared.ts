/** Real data that lies beside some checkouts; tests that want it skip where it is not. */
import { fileURLToPath } from "node:url";

const SHARED = process.env.KMODFARM_SHARED ?? fileURLToPath(new URL("../../../shared", import.meta.url));

export function sharedFile(path: string): string {
  return `${SHARED}/${path}`;
}
