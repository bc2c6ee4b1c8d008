/** A registry behind a web server, to read: the folder of a store as any server gives it out, or a bucket that is public. */
import { FarmError } from "../../base/error.ts";
import type { Http } from "../../base/http.ts";
import type { RegistryReader } from "../reader.ts";
import { partsOf } from "./path.ts";

/** `url` is the folder's, with or without a slash at its end. */
export function webReader(url: string, http: Http): RegistryReader {
  const place = url.replace(/\/+$/, "");
  return {
    place,
    async read(path, limitBytes) {
      const at = `${place}/${partsOf(path).map(encodeURIComponent).join("/")}`;
      const answer = await http.get(at);
      if (answer.kind === "missing") return undefined;
      if (answer.kind !== "ok")
        throw new FarmError("REMOTE_UNAVAILABLE", { about: at, joint: " ", detail: "has no content" });
      const chunks: Buffer[] = [];
      let size = 0;
      try {
        for await (const chunk of answer.body as AsyncIterable<Buffer>) {
          size += chunk.length;
          if (size > limitBytes) break;
          chunks.push(chunk);
        }
      } catch (thrown) {
        throw http.toError(at, thrown);
      }
      if (size <= limitBytes) return Buffer.concat(chunks);
      throw new FarmError("STORE_CORRUPT", {
        about: place,
        joint: "/",
        detail: `${path} is longer than ${limitBytes} bytes`,
        at: { path },
      });
    },
  };
}
