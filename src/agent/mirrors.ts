/** Where a registry is read from: directories and web servers, in the order in which they are asked. */
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { FarmError, isErrno } from "../base/error.ts";
import { Http } from "../base/http.ts";

export interface Mirror {
  readonly place: string;
  /**
   * A file, or undefined if there is none.
   * @throws FarmError REMOTE_UNAVAILABLE for a mirror that does not answer, and for a file that is longer than it may be
   */
  read(path: string, limitBytes: number): Promise<Buffer | undefined>;
}

export interface Mirrors extends AsyncDisposable {
  readonly all: readonly Mirror[];
}

/** `patienceMs`: the longest time that one file may take. Each mirror is asked twice, so nothing is tried again here. */
export function openMirrors(places: readonly string[], patienceMs: number): Mirrors {
  const http = new Http({ retries: 0, silenceMs: patienceMs, slowMs: patienceMs, longestMs: patienceMs });
  return {
    all: places.map((place) =>
      /^https?:\/\//.test(place) ? webMirror(place, http) : folderMirror(place.replace(/^file:\/\//, "")),
    ),
    [Symbol.asyncDispose]: () => http.close(),
  };
}

function webMirror(url: string, http: Http): Mirror {
  const place = url.replace(/\/+$/, "");
  return {
    place,
    async read(path, limitBytes) {
      const answer = await http.fetchDocument(`${place}/${path}`, limitBytes);
      if (answer.kind === "missing") return undefined;
      if (answer.kind === "ok") return answer.bytes;
      throw unreachable(place, "answers a question that was not asked");
    },
  };
}

function folderMirror(place: string): Mirror {
  return {
    place,
    async read(path, limitBytes) {
      try {
        // A pipe would keep us waiting for whoever writes to it.
        await using file = await open(join(place, path), constants.O_RDONLY | constants.O_NONBLOCK);
        const status = await file.stat();
        if (!status.isFile() || status.size > limitBytes)
          throw unreachable(place, `has no ${path} of at most ${limitBytes} bytes`);
        return await file.readFile();
      } catch (thrown) {
        if (!isErrno(thrown)) throw thrown;
        if (thrown.code === "ENOENT" && (await isDirectory(place))) return undefined;
        throw unreachable(place, `does not answer (${thrown.code})`, thrown);
      }
    },
  };
}

async function isDirectory(place: string): Promise<boolean> {
  try {
    await using directory = await open(place);
    return (await directory.stat()).isDirectory();
  } catch {
    // A directory that cannot be opened has no files for us.
    return false;
  }
}

function unreachable(place: string, fact: string, cause?: unknown): FarmError {
  return new FarmError("REMOTE_UNAVAILABLE", { about: place, joint: " ", detail: fact, cause });
}
